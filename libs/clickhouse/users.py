"""Users of ClickHouse and what they may do: the sink writes, the API and analysts read, nobody else does anything.

Tables are made and changed by an administrator, whose rights the materialised views have.
"""

import secrets
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, SecretStr

from libs.clickhouse.settings import ClickHouseSettings

_SHORTEST: Final = 16


# An empty one is none.
_Password = Annotated[
    Annotated[SecretStr, Field(min_length=_SHORTEST)] | None, BeforeValidator(lambda given: given or None)
]


class UserSettings(ClickHouseSettings):
    """Where ClickHouse is, as its administrator, and the passwords of the users to be made."""

    clickhouse_sink_password: _Password = Field(default=None, description="Makes the user <database>_sink.")
    clickhouse_api_password: _Password = Field(default=None, description="Makes the user <database>_api.")
    clickhouse_analyst_password: _Password = Field(
        default=None, description="Makes the user <database>_analyst."
    )


_ROLE_OF: Final = {"sink": "writer", "api": "reader", "analyst": "reader"}


def privileges(database: str) -> dict[str, str]:
    """What each role may do, as GRANT says it."""
    return {
        "writer": f"SELECT, INSERT ON {database}.*",
        "reader": f"SELECT ON {database}.*",
    }


def role_statements(settings: ClickHouseSettings) -> Iterator[str]:
    """SQL that makes the roles <database>_writer and <database>_reader, and has them say just this. Safe to repeat."""
    database, cluster = settings.clickhouse_database, _on_cluster(settings)
    for role, privilege in privileges(database).items():
        yield f"CREATE ROLE IF NOT EXISTS {database}_{role}{cluster}"
        yield f"GRANT{cluster} {privilege} TO {database}_{role} WITH REPLACE OPTION"


def user_statements(settings: UserSettings) -> Iterator[str]:
    """SQL that makes the users whose passwords are set, or gives them these. It holds hashes, no passwords."""
    database, cluster = settings.clickhouse_database, _on_cluster(settings)
    for whose, role in _ROLE_OF.items():
        password: SecretStr | None = getattr(settings, f"clickhouse_{whose}_password")
        if password is None:
            continue
        salt = secrets.token_hex(16)
        digest = sha256((password.get_secret_value() + salt).encode()).hexdigest()
        proof = f"IDENTIFIED WITH sha256_hash BY '{digest}' SALT '{salt}'"
        user = f"{database}_{whose}"
        yield f"CREATE USER IF NOT EXISTS {user}{cluster} {proof}"
        yield f"ALTER USER {user}{cluster} {proof}"
        yield f"GRANT{cluster} {database}_{role} TO {user} WITH REPLACE OPTION"


def _on_cluster(settings: ClickHouseSettings) -> str:
    return f" ON CLUSTER '{settings.clickhouse_cluster}'" if settings.clickhouse_cluster else ""
