"""Users of ClickHouse and what they may do: the sink writes, the API and analysts read, nobody else does anything.

Tables are made and changed by an administrator, whose rights the materialised views have. An analyst of one
organisation sees its rows alone: see `policies`.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from pydantic import BeforeValidator, Field, SecretStr

from libs.clickhouse.client import ClickHouseClient
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
        user = f"{database}_{whose}"
        yield from _user(user, password.get_secret_value(), cluster)
        yield f"GRANT{cluster} {database}_{role} TO {user} WITH REPLACE OPTION"


OWN_ROWS: Final = {
    "station_id": "station_id IN (SELECT station_id FROM {database}.organisation_stations)",
    "site_id": "site_id IN (SELECT site_id FROM {database}.organisation_sites)",
    "id_token": "id_token IN (SELECT id_token FROM {database}.organisation_tokens)",
    "tariff_id": "tariff_id IN (SELECT tariff_id FROM {database}.organisation_tariffs)",
    "organisation_id": "organisation_id = '{organisation}'",
}
"""Which rows of a table an organisation's analyst sees, by the first of these columns that the table has."""

OWNERS: Final = ("organisation_stations", "organisation_sites", "organisation_tokens", "organisation_tariffs")
"""Views that tell what belongs to which organisation: of them it sees what belongs to its own."""

NOT_SHOWN: Final = frozenset(
    {
        "dead_letters",
        "firmware_campaigns",
        "commands_bulk",
        "commands_bulk_progress",
        "billing_plan_months",
        "billing_prepaid",
        "billing_prepaid_asked",
    }
)
"""Tables of what may concern several organisations: their rows are the platform's."""


class Kept(msgspec.Struct, frozen=True):
    """What a database has: `tables` that keep rows, with their columns, and `views` by name."""

    tables: Mapping[str, Collection[str]]
    views: Collection[str]


KEPT: Final = (
    "SELECT tables.name AS name, tables.engine = 'View' AS is_view, groupArray(columns.name) AS columns"
    " FROM system.tables AS tables LEFT JOIN system.columns AS columns"
    " ON columns.database = tables.database AND columns.table = tables.name"
    " WHERE tables.database = %(database)s AND tables.engine NOT IN ('MaterializedView', 'Null')"
    " GROUP BY tables.name, tables.engine"
)


def kept(client: ClickHouseClient, database: str) -> Kept:
    """What there is now. Raises ClickHouseError."""
    rows = client.rows(KEPT, {"database": database})
    return Kept(
        {row["name"]: row["columns"] for row in rows if not row["is_view"]},
        [row["name"] for row in rows if row["is_view"]],
    )


def policies(database: str, organisation: str, tables: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The condition by which an organisation's analyst sees rows, by table; `tables`: their columns.

    What tells nothing of whose a row is shows none. Other views read the tables with the rights of who asks.
    """
    found = dict.fromkeys(OWNERS, OWN_ROWS["organisation_id"])
    for table, columns in tables.items():
        column = None if table in NOT_SHOWN else next((each for each in OWN_ROWS if each in columns), None)
        found[table] = "0" if column is None else OWN_ROWS[column]
    return {
        table: condition.format(database=database, organisation=organisation)
        for table, condition in sorted(found.items())
    }


def own_rights(database: str, known: Kept) -> str:
    """What an organisation's analyst may do, as GRANT says it: read what there is now, and nothing that comes later."""
    return ", ".join(f"SELECT ON {database}.{name}" for name in sorted({*known.tables, *known.views}))


def analyst_statements(
    settings: UserSettings, organisation: str, password: str, known: Kept
) -> Iterator[str]:
    """SQL that makes the user <database>_analyst_<organisation>, who sees that organisation's rows. Safe to repeat.

    To be run again after a migration: what is new is not readable before. It holds a hash, no password.
    """
    database, cluster = settings.clickhouse_database, _on_cluster(settings)
    user = f"`{database}_analyst_{organisation}`"
    yield from _user(user, password, cluster)
    for table, condition in policies(database, organisation, known.tables).items():
        policy = f"`{organisation}`{cluster} ON {database}.{table}"
        yield f"CREATE ROW POLICY OR REPLACE {policy} FOR SELECT USING {condition} TO {user}"
    # Last: until then it sees nothing.
    yield f"GRANT{cluster} {own_rights(database, known)} TO {user} WITH REPLACE OPTION"


def _user(user: str, password: str, cluster: str) -> Iterator[str]:
    salt = secrets.token_hex(16)
    digest = sha256((password + salt).encode()).hexdigest()
    proof = f"IDENTIFIED WITH sha256_hash BY '{digest}' SALT '{salt}'"
    yield f"CREATE USER IF NOT EXISTS {user}{cluster} {proof}"
    yield f"ALTER USER {user}{cluster} {proof}"


def _on_cluster(settings: ClickHouseSettings) -> str:
    return f" ON CLUSTER '{settings.clickhouse_cluster}'" if settings.clickhouse_cluster else ""
