import re
from pathlib import Path
from string import Template

import pytest

import libs.clickhouse.migrate as migrations
from libs.clickhouse.client import NotMigratedError
from libs.clickhouse.migrate import MigrationError, load_migrations, migrate, placeholders
from libs.clickhouse.settings import ClickHouseSettings

IDEMPOTENT = re.compile(
    r"CREATE (TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS \$database\.\w+ \$on_cluster"
    r"|CREATE OR REPLACE VIEW \$database\.\w+ \$on_cluster"
    r"|ALTER TABLE \$database\.\w+ \$on_cluster \w+ \w+ IF (NOT )?EXISTS"
    r"|ALTER TABLE \$database\.\w+ \$on_cluster(,?\n    COMMENT COLUMN \w+ '[^']+')+$"
    r"|DROP \w+ IF EXISTS \$database\.\w+ \$on_cluster"
)


def test_every_statement_may_be_run_twice() -> None:
    statements = [statement for migration in load_migrations() for statement in migration.statements]
    assert [s.splitlines()[0] for s in statements if not IDEMPOTENT.match(s)] == []


def test_inserts_into_a_table_of_the_log_are_one_part() -> None:
    statements = [statement for migration in load_migrations() for statement in migration.statements]
    assert not [s for s in statements if "PARTITION BY" in s]


@pytest.mark.parametrize(
    ("cluster", "engine", "clause"),
    [
        ("", "ENGINE = ReplacingMergeTree", ""),
        ("c1", "ENGINE = ReplicatedReplacingMergeTree", "ON CLUSTER 'c1'"),
    ],
)
def test_placeholders_name_database_cluster_and_engine(cluster: str, engine: str, clause: str) -> None:
    values = placeholders(ClickHouseSettings(clickhouse_database="d", clickhouse_cluster=cluster))
    text = Template(load_migrations()[0].statements[0]).substitute(values)
    assert text.startswith(f"CREATE TABLE IF NOT EXISTS d.ocpp_transactions {clause}")
    assert engine in text


@pytest.mark.parametrize("names", [["0000_a.sql"], ["0001_a.sql", "0001_c.sql"], ["1_a.sql"]])
def test_files_out_of_order_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="expected a file named"):
        load_migrations(tmp_path)


def test_a_number_may_be_left_out(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0003_c.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    assert [each.number for each in load_migrations(tmp_path)] == [1, 3]


def test_a_file_is_split_into_statements_without_comment_lines(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- a; b;\nSELECT ';' AS x;\n\n-- more\nSELECT\n    2;\n")
    (migration,) = load_migrations(tmp_path)
    assert migration.statements == ("SELECT ';' AS x", "SELECT\n    2")


@pytest.mark.parametrize("name", ["a-b", "a; DROP", "1a", ""])
def test_a_database_name_is_an_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="clickhouse_database"):
        ClickHouseSettings(clickhouse_database=name)


class Server:
    """What the migrations see of ClickHouse: connections, each to a database, and what was executed."""

    def __init__(self, exists: bool, applied: list[dict[str, object]]) -> None:
        self.exists = exists
        self.applied = applied
        self.executed: list[str] = []

    def connect(self, settings: ClickHouseSettings, *, database: str | None = None) -> "Server":
        self.database = database or settings.clickhouse_database
        return self

    def rows(self, sql: str) -> list[dict[str, object]]:
        if not self.exists:
            raise NotMigratedError("no such database")
        return self.applied

    def execute(self, sql: str) -> None:
        assert self.exists or self.database == "default"
        self.exists = self.exists or "schema_migrations" in sql
        self.executed.append(sql)

    def insert(self, table: str, columns: tuple[str, ...], data: list[list[object]], token: str) -> None:
        self.applied.append(dict(zip(columns, (column[0] for column in data), strict=True)))

    def close(self) -> None:
        pass


def test_on_finished_tables_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[dict[str, object]] = [
        {"number": each.number, "checksum": each.checksum} for each in load_migrations()
    ]
    server = Server(True, applied)
    monkeypatch.setattr(migrations, "ClickHouseClient", server.connect)
    assert migrate(ClickHouseSettings()) == []
    assert server.executed == []


def test_a_database_that_is_missing_is_made_first(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(False, [])
    monkeypatch.setattr(migrations, "ClickHouseClient", server.connect)
    assert migrate(ClickHouseSettings()) == [each.name for each in load_migrations()]
    assert server.executed[0].startswith("CREATE DATABASE IF NOT EXISTS voltbus")
    assert [row["number"] for row in server.applied] == [each.number for each in load_migrations()]
