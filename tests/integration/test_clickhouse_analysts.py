"""An organisation's analyst reads its rows in every table and view, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

import pytest

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.clickhouse.users import (
    NOT_SHOWN,
    OWN_ROWS,
    OWNERS,
    Kept,
    UserSettings,
    analyst_statements,
    kept,
    own_rights,
    policies,
)
from libs.devstack import packages
from libs.devstack.clickhouse import ClickHouse
from libs.devstack.endpoints import HOST, free_ports

pytestmark = pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded ClickHouse")

DATABASE = "shared"
ANALYSTS = ("acme", "bolt")
USER = """\
<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota>{databases}<grants><query>GRANT {rights}</query></grants></{name}>
"""
ROWS = (
    "INSERT INTO registry_organisations (organisation_id, _type, _offset) VALUES ('acme', 'O', 1), ('bolt', 'O', 2)",
    "INSERT INTO registry_sites (site_id, organisation_id, _type, _offset)"
    " VALUES ('harbour', 'acme', 'S', 1), ('market', 'bolt', 'S', 2)",
    "INSERT INTO registry_stations (station_id, organisation_id, _type, _offset, sites.id, sites.valid_from) VALUES"
    " ('a-own', 'acme', 'S', 1, [], []), ('b-own', 'bolt', 'S', 2, [], []), ('none', '', 'S', 3, [], []),"
    " ('a-site', '', 'S', 4, ['harbour'], ['2020-01-01 00:00:00']),"
    # It was acme's, and went to a site of bolt.
    " ('moved', 'acme', 'S', 5, ['harbour', 'market'], ['2020-01-01 00:00:00', '2021-01-01 00:00:00']),"
    " ('later', 'acme', 'S', 6, ['market'], ['2199-01-01 00:00:00']), ('gone', 'acme', 'S', 7, [], [])",
    "INSERT INTO registry_stations (station_id, _deleted, _offset) VALUES ('gone', true, 8)",
    "INSERT INTO registry_tokens (id_token, organisation_id, _type, _offset)"
    " VALUES ('card-a', 'acme', 'T', 1), ('card-b', 'bolt', 'T', 2),"
    " ('sold', 'acme', 'T', 3), ('sold', 'bolt', 'T', 4)",
)
STATIONS = {"acme": {"a-own", "a-site", "later"}, "bolt": {"b-own", "moved"}}
EVERY_STATION = {"a-own", "b-own", "none", "a-site", "moved", "later", "gone"}


class SharedClickHouse(ClickHouse):
    """With an analyst of each organisation, once it is told what there is. It has its users in a file."""

    known: Kept | None = None

    def prepare(self) -> None:
        super().prepare()
        users = USER.format(name="default", password="", databases="", rights="ALL ON *.* WITH GRANT OPTION")
        for name in ANALYSTS if self.known is not None else ():
            assert self.known is not None
            filters = "".join(
                f"<{table}><filter>{escape(condition)}</filter></{table}>"
                for table, condition in policies(DATABASE, name, self.known.tables).items()
            )
            users += USER.format(
                name=name,
                password=name,
                databases=f"<databases><{DATABASE}>{filters}</{DATABASE}></databases>",
                rights=own_rights(DATABASE, self.known),
            )
        (self._folder / "users.xml").write_text(
            "<clickhouse><profiles><default/></profiles><quotas><default/></quotas>"
            f"<users>{users}</users></clickhouse>"
        )

    @property
    def direct_port(self) -> int:
        """Past the forwarder, which knows no users."""
        return self._inner_port


def settings(server: SharedClickHouse, user: str, password: str) -> ClickHouseSettings:
    return ClickHouseSettings.model_validate(
        {
            "clickhouse_host": HOST,
            "clickhouse_port": server.direct_port,
            "clickhouse_database": DATABASE,
            "clickhouse_user": user,
            "clickhouse_password": password,
        }
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedClickHouse]:
    folder = tmp_path_factory.mktemp("shared")
    server = SharedClickHouse(packages.ensure(print).chdb, folder / "data", folder / "logs", *free_ports(1))
    try:
        server.start(120)
        migrate(settings(server, "default", ""))
        admin = ClickHouseClient(settings(server, "default", ""))
        server.known = kept(admin, DATABASE)
        admin.close()
        server.kill()
        server.start(120)
        admin = ClickHouseClient(settings(server, "default", ""))
        for statement in ROWS:
            admin.execute(statement)
        for table, columns in server.known.tables.items():
            if "station_id" in columns and table != "registry_stations":
                # Some tables are not sorted by station: rows of one place would be one.
                place = ", _offset" if "_offset" in columns else ""
                for number, station_id in enumerate(sorted(EVERY_STATION), 1):
                    value = f"('{station_id}', {number})" if place else f"('{station_id}')"
                    admin.execute(f"INSERT INTO {table} (station_id{place}) VALUES {value}")
        admin.close()
        yield server
    finally:
        server.kill()


@pytest.fixture
def clients(server: SharedClickHouse) -> Iterator[dict[str, ClickHouseClient]]:
    found = {name: ClickHouseClient(settings(server, name, name)) for name in ANALYSTS}
    found["admin"] = ClickHouseClient(settings(server, "default", ""))
    yield found
    for client in found.values():
        client.close()


def known_of(server: SharedClickHouse) -> Kept:
    assert server.known is not None
    return server.known


def test_every_table_has_a_policy_and_of_none_is_it_open_whose_its_rows_are(server: SharedClickHouse) -> None:
    """A new table fails here until it has a column that tells whose its rows are, or is named as the platform's."""
    known = known_of(server)
    found = policies(DATABASE, "acme", known.tables)
    assert set(found) == {*known.tables, *OWNERS}
    assert set(OWNERS) <= set(known.views)
    hidden = {table for table, condition in found.items() if condition == "0"}
    assert hidden == NOT_SHOWN | {"schema_migrations"}
    assert len(found) > 40


@pytest.mark.parametrize("organisation", ANALYSTS)
def test_an_analyst_sees_the_rows_of_the_own_stations_in_every_table(
    server: SharedClickHouse, clients: dict[str, ClickHouseClient], organisation: str
) -> None:
    seen = 0
    for table, columns in known_of(server).tables.items():
        if "station_id" not in columns or table in NOT_SHOWN:
            continue
        rows = clients[organisation].rows(f"SELECT DISTINCT station_id FROM {table}")
        assert {row["station_id"] for row in rows} == STATIONS[organisation], table
        everything = clients["admin"].rows(f"SELECT DISTINCT station_id FROM {table}")
        assert {row["station_id"] for row in everything} == EVERY_STATION, table
        seen += 1
    assert seen > 25


def test_views_show_what_the_tables_show(
    server: SharedClickHouse, clients: dict[str, ClickHouseClient]
) -> None:
    acme, bolt = clients["acme"], clients["bolt"]

    def ids(client: ClickHouseClient, view: str, column: str) -> set[str]:
        return {row[column] for row in client.rows(f"SELECT {column} FROM {view}")}

    for organisation, client in (("acme", acme), ("bolt", bolt)):
        for view in ("stations", "organisation_stations"):
            assert ids(client, view, "station_id") == STATIONS[organisation]
        assert ids(client, "organisations", "organisation_id") == {organisation}
    assert ids(acme, "sites", "site_id") == ids(acme, "organisation_sites", "site_id") == {"harbour"}
    assert ids(acme, "tokens", "id_token") == {"card-a"}
    assert (
        ids(bolt, "tokens", "id_token") == ids(bolt, "organisation_tokens", "id_token") == {"card-b", "sold"}
    )


def test_an_analyst_reads_nothing_else_and_changes_nothing(clients: dict[str, ClickHouseClient]) -> None:
    for table in sorted(NOT_SHOWN | {"schema_migrations"}):
        assert clients["acme"].rows(f"SELECT count() AS n FROM {table}") == [{"n": 0}]
    clients["admin"].execute("CREATE TABLE newer (station_id String) ENGINE = MergeTree ORDER BY station_id")
    for statement in (
        "SELECT * FROM newer",
        "INSERT INTO registry_tokens (id_token) VALUES ('mine')",
        "CREATE ROW POLICY mine ON registry_tokens USING 1 TO acme",
        "DROP TABLE registry_tokens",
        "SELECT * FROM system.users",
    ):
        with pytest.raises(ClickHouseError, match=r"Not enough privileges|necessary to have the grant"):
            clients["acme"].execute(statement)
    clients["admin"].execute("DROP TABLE newer")


def test_the_sql_that_makes_an_analyst_is_understood(
    server: SharedClickHouse, clients: dict[str, ClickHouseClient]
) -> None:
    """The embedded server has no place for users and policies: it parses the statements."""
    for given in ({}, {"clickhouse_cluster": "c"}):
        made = UserSettings.model_validate({"clickhouse_database": DATABASE} | given)
        statements = list(analyst_statements(made, "acme", "of-sixteen-characters", known_of(server)))
        assert len(statements) == 2 + len(policies(DATABASE, "acme", known_of(server).tables)) + 1
        for statement in statements:
            assert "of-sixteen" not in statement
            parsed = clients["admin"].rows(f"EXPLAIN AST {statement}")
            assert parsed[0]["explain"].split()[0] in {
                "CreateUserQuery",
                "GrantQuery",
                "CREATE",
            }
    assert set(OWN_ROWS) >= {"station_id", "site_id", "id_token", "tariff_id", "organisation_id"}
