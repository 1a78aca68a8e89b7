"""ClickHouse's users: the sink writes, the API and analysts read, and none of them reaches anything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from libs.bus.raw_consumer import Partition
from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.clickhouse.table_mapping import DERIVED, TableLayout, layouts
from libs.clickhouse.users import UserSettings, privileges, role_statements, user_statements
from libs.devstack import packages
from libs.devstack.clickhouse import ClickHouse
from libs.devstack.endpoints import HOST, free_ports
from libs.events.contract import load_contract
from services.sink.domain.blocks import build_block
from services.sink.writer import ClickHouseWriter

pytestmark = pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded ClickHouse")

EXAMPLES = Path(__file__).parents[2] / "proto_schemas" / "examples"
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


def test_views_fill_every_derived_table_when_the_sink_writes_and_analysts_read_it(
    server: GuardedClickHouse, clients: dict[str, ClickHouseClient]
) -> None:
    """With the sink's own writer, and the contract's example of each record as rows."""
    contract = load_contract()
    writer = ClickHouseWriter(settings(server, "sink"), 1)
    written: dict[str, int] = {}
    try:
        for layout in layouts(contract).values():
            if layout.table in DERIVED:
                records = example_records(layout)
                (topic,) = layout.topics
                block = build_block(layout, {Partition(topic, 0): records}, decode_example)
                assert (block.bad, block.unknown) == ((), {})
                asyncio.run(writer.insert(layout, block))
                written[layout.table] = len(records)
    finally:
        writer.close()
    assert set(written) == set(DERIVED)
    for whose in ("api", "analyst"):
        for table, count in written.items():
            assert clients[whose].rows(f"SELECT count() AS n FROM {table}") == [{"n": count}]
        for table in {name for names in DERIVED.values() for name in names}:
            assert clients[whose].rows(f"SELECT count() > 0 AS filled FROM {table}") == [{"filled": 1}], table
        (state,) = clients[whose].rows("SELECT station_id, vendor, connected FROM station_state_latest FINAL")
        assert state == {"station_id": "nrv-0001", "vendor": "Norvolt", "connected": True}


@dataclass(frozen=True)
class ExampleRecord:
    """The name of the record's schema, a zero byte, then its JSON."""

    offset: int
    value: bytes
    timestamp: int = 1_790_000_000_000
    key: bytes | None = b"nrv-0001"
    headers: tuple[tuple[str, bytes], ...] = ()


def example_records(layout: TableLayout) -> list[ExampleRecord]:
    found = [
        path.parent.name.encode() + b"\0" + path.read_bytes()
        for kind in sorted(layout.records)
        for path in sorted((EXAMPLES / kind).glob("*.json"))
    ]
    return [ExampleRecord(offset, value) for offset, value in enumerate(found)]


def decode_example(value: bytes) -> tuple[str, dict[str, Any]]:
    kind, _, text = value.partition(b"\0")
    return kind.decode(), json.loads(text)


@pytest.mark.parametrize("who", ["api", "analyst"])
def test_readers_see_every_table_and_view(clients: dict[str, ClickHouseClient], who: str) -> None:
    # Views with parameters cannot be read without them, nor tables that keep nothing.
    names = clients["admin"].rows(
        f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND create_table_query NOT LIKE '%{{%:%'"
        " AND engine NOT IN ('MaterializedView', 'Null')"
    )
    assert len(names) > 50
    for row in names:
        # The driver cannot read states of aggregate functions.
        clients[who].rows(f"SELECT ignore(*) FROM `{row['name']}` LIMIT 1")
    assert clients[who].rows("SELECT * FROM station_sites(at = '2026-01-01 00:00:00')") is not None


NO_PLACE = "there is no writeable access storage"
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


def test_the_sql_that_makes_roles_and_users_lacks_only_a_place_for_them(
    clients: dict[str, ClickHouseClient],
) -> None:
    """The embedded server has its users in a file that it does not write: it checks a statement, and then has no place.

    Statements for a cluster are parsed alone, since there is none.
    """
    passwords = {f"clickhouse_{whose}_password": f"{whose}-of-sixteen-characters" for whose in USERS}
    made = UserSettings.model_validate(passwords | {"clickhouse_database": DATABASE})
    clustered = UserSettings.model_validate(passwords | {"clickhouse_cluster": "c"})
    statements = [*role_statements(made), *user_statements(made)]
    assert len(statements) == 4 + 9
    for statement in (*statements, *role_statements(clustered), *user_statements(clustered)):
        assert "of-sixteen" not in statement
        parsed = clients["admin"].rows(f"EXPLAIN AST {statement}")
        assert parsed[0]["explain"].split()[0] in {"CreateRoleQuery", "CreateUserQuery", "GrantQuery"}
    for statement in statements:
        with pytest.raises(ClickHouseError, match=rf"{NO_PLACE}|There is no (role|user) `{DATABASE}_"):
            clients["admin"].execute(statement)
        # A grant first looks for who is to have it.
        for who in USERS if statement.startswith("CREATE") else ():
            with pytest.raises(ClickHouseError, match=r"Not enough privileges|necessary to have the grant"):
                clients[who].execute(statement)
