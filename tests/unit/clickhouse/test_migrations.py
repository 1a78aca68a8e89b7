import re
from pathlib import Path
from string import Template

import pytest

from libs.clickhouse.migrate import MigrationError, load_migrations, placeholders
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


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["1_a.sql"]])
def test_files_out_of_order_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="expected a file named"):
        load_migrations(tmp_path)


def test_a_file_is_split_into_statements_without_comment_lines(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- a; b;\nSELECT ';' AS x;\n\n-- more\nSELECT\n    2;\n")
    (migration,) = load_migrations(tmp_path)
    assert migration.statements == ("SELECT ';' AS x", "SELECT\n    2")


@pytest.mark.parametrize("name", ["a-b", "a; DROP", "1a", ""])
def test_a_database_name_is_an_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="clickhouse_database"):
        ClickHouseSettings(clickhouse_database=name)
