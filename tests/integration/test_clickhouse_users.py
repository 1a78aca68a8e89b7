"""ClickHouse's users: the sink writes, the API and analysts read, and none of them reaches anything else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.layout import layouts
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.clickhouse.users import UserSettings, privileges, role_statements, user_statements
from libs.events.contract import load_contract
from libs.testing.localstack import packages
from libs.testing.localstack.clickhouse import ClickHouse
from libs.testing.localstack.endpoints import HOST, free_ports

pytestmark = pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded ClickHouse")

DATABASE = "secured"
USERS = {"sink": "writer", "api": "reader", "analyst": "reader"}
USER = """\
<{name}><password>{name}-proves-itself</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota><grants><query>GRANT {rights}</query></grants></{name}>
"""


class GuardedClickHouse(ClickHouse):
    """With the users of the platform. The embedded server makes none by SQL: they are in its configuration."""

    def prepare(self) -> None:
        super().prepare()
        granted = privileges(DATABASE)
        users = "".join(USER.format(name=name, rights=granted[role]) for name, role in USERS.items())
        default = USER.format(name="default", rights="ALL ON *.* WITH GRANT OPTION")
        (self._folder / "users.xml").write_text(
            "<clickhouse><profiles><default/></profiles><quotas><default/></quotas>"
            f"<users>{default.replace('default-proves-itself', '')}{users}</users></clickhouse>"
        )

    @property
    def direct_port(self) -> int:
        """Past the forwarder, which knows no users."""
        return self._inner_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedClickHouse]:
    folder = tmp_path_factory.mktemp("guarded")
    server = GuardedClickHouse(packages.ensure(print).chdb, folder / "data", folder / "logs", *free_ports(1))
    try:
        server.start(120)
        migrate(settings(server, "default", ""))
        yield server
    finally:
        server.kill()


def settings(server: GuardedClickHouse, user: str, password: str | None = None) -> ClickHouseSettings:
    given: dict[str, Any] = {"clickhouse_password": f"{user}-proves-itself" if password is None else password}
    return ClickHouseSettings(
        clickhouse_host=HOST,
        clickhouse_port=server.direct_port,
        clickhouse_database=DATABASE,
        clickhouse_user=user,
        **given,
    )


@pytest.fixture
def clients(server: GuardedClickHouse) -> Iterator[dict[str, ClickHouseClient]]:
    found = {name: ClickHouseClient(settings(server, name)) for name in USERS}
    found["admin"] = ClickHouseClient(settings(server, "default", ""))
    yield found
    for client in found.values():
        client.close()


def test_the_sink_starts_on_finished_tables_and_writes_into_all_of_them(
    server: GuardedClickHouse, clients: dict[str, ClickHouseClient]
) -> None:
    assert migrate(settings(server, "sink")) == []
    for layout in layouts(load_contract()).values():
        clients["sink"].insert(layout.table, layout.column_names, [[] for _ in layout.column_names], "none")
    # A derived table is filled by a view, with the rights of who made it.
    clients["sink"].execute(
        "INSERT INTO telemetry_health_feed (station_id, _topic, _partition, _offset)"
        " VALUES ('S-1', 'telemetry.health', 0, 0)"
    )


@pytest.mark.parametrize("who", ["api", "analyst"])
def test_readers_see_every_table_and_view(clients: dict[str, ClickHouseClient], who: str) -> None:
    # Views with parameters cannot be read without them, nor tables that keep nothing.
    names = clients["admin"].rows(
        f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND create_table_query NOT LIKE '%{{%:%'"
        " AND engine NOT IN ('MaterializedView', 'Null')"
    )
    assert len(names) > 50
    for row in names:
        clients[who].rows(f"SELECT * FROM `{row['name']}` LIMIT 1")
    assert clients[who].rows("SELECT * FROM station_sites(at = '2026-01-01 00:00:00')") is not None


WRITES = [
    "INSERT INTO schema_migrations (number) VALUES (99)",
    "TRUNCATE TABLE schema_migrations",
    "ALTER TABLE schema_migrations DELETE WHERE 1",
    "DROP TABLE schema_migrations",
    "CREATE TABLE mine (a UInt8) ENGINE = Memory",
]
BEYOND = [
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM executable('id', 'LineAsString', 'x String')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "INSERT INTO FUNCTION file('/tmp/stolen', 'CSV', 'a UInt8') VALUES (1)",
    "SELECT * FROM system.users",
    "SYSTEM SHUTDOWN",
    "CREATE USER mine",
    "CREATE DATABASE mine",
]


@pytest.mark.parametrize(
    ("who", "statement"),
    [*product(("api", "analyst"), [*WRITES, *BEYOND]), *product(("sink",), [*WRITES[1:], *BEYOND])],
)
def test_they_may_do_nothing_else(clients: dict[str, ClickHouseClient], who: str, statement: str) -> None:
    with pytest.raises(ClickHouseError, match=r"Not enough privileges|necessary to have the grant"):
        clients[who].execute(statement)


def test_the_sql_that_makes_roles_and_users_is_understood(clients: dict[str, ClickHouseClient]) -> None:
    made = UserSettings.model_validate(
        {"clickhouse_cluster": "c", "clickhouse_sink_password": "of-sixteen-characters"}
    )
    statements = [*role_statements(made), *user_statements(made), *role_statements(ClickHouseSettings())]
    assert len(statements) == 11
    for statement in statements:
        assert "of-sixteen" not in statement
        ((shown),) = clients["admin"].rows(
            "SELECT formatQuerySingleLine(%(sql)s) AS shown", {"sql": statement}
        )
        assert shown["shown"].split()[0] == statement.split()[0]
