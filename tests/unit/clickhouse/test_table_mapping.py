import re

import pytest

from libs.clickhouse.migrate import load_migrations
from libs.clickhouse.table_mapping import DERIVED, POSITION_COLUMNS, TableLayout, layouts, table_name
from libs.events.contract import Contract, Topic, load_contract

LAYOUTS = layouts(load_contract())
CREATE_TABLE = re.compile(
    r"CREATE TABLE IF NOT EXISTS \$database\.(\w+) \$on_cluster\n\((.*?)\n\)\n", re.DOTALL
)
CREATE_FEED = re.compile(
    r"CREATE TABLE IF NOT EXISTS \$database\.(\w+)_feed \$on_cluster\nAS \$database\.(\w+)"
)
ADD_COLUMN = re.compile(r"ALTER TABLE \$database\.(\w+) \$on_cluster ADD COLUMN IF NOT EXISTS (\S+) (.+)")
OPTIONAL_PARTS = re.compile(r" (CODEC|DEFAULT)\b.*$")


def declared_tables() -> dict[str, dict[str, str]]:
    """Columns with their types by table, as the migrations declare them."""
    tables: dict[str, dict[str, str]] = {}
    for migration in load_migrations():
        for statement in migration.statements:
            if match := CREATE_TABLE.match(statement):
                tables[match[1]] = dict(declared_columns(match[2]))
            elif match := CREATE_FEED.match(statement):
                tables[f"{match[1]}_feed"] = dict(tables[match[2]])
            elif match := ADD_COLUMN.match(statement):
                tables[match[1]][match[2]] = OPTIONAL_PARTS.sub("", match[3])
    return tables


def declared_columns(body: str) -> list[tuple[str, str]]:
    columns = []
    nested = ""
    for line in body.replace(",\n", "\n").splitlines():
        text = OPTIONAL_PARTS.sub("", line.strip())
        if text.endswith(" Nested"):
            nested = text.removesuffix(" Nested") + "."
        elif text == ")":
            nested = ""
        elif text and text != "(":
            name, _, kind = text.partition(" ")
            columns.append((nested + name, f"Array({kind})" if nested else kind))
    return columns


def accepted_types(layout: TableLayout) -> dict[str, set[str]]:
    accepted = {name: {kind} for name, kind in POSITION_COLUMNS.items()}
    for column in layout.columns:
        inner = {f"Nullable({column.type})"} if column.nullable else {column.type}
        if column.type == "String":
            inner |= {f"LowCardinality({kind})" for kind in list(inner)}
        if column.type == "Array(String)":
            inner.add("Array(LowCardinality(String))")
        accepted[column.name] = {f"Array({kind})" for kind in inner} if column.many else inner
    return accepted


@pytest.mark.parametrize("table", LAYOUTS)
def test_every_field_has_its_column_and_every_column_its_field(table: str) -> None:
    declared = declared_tables()[table]
    accepted = accepted_types(LAYOUTS[table])
    assert sorted(declared) == sorted(accepted)
    assert {name: kind for name, kind in declared.items() if kind not in accepted[name]} == {}


def test_every_topic_with_schemas_and_every_dead_letter_topic_has_a_table() -> None:
    topics = [topic for topic in load_contract().topics.values() if topic.stored]
    wanted = {t.name for t in topics} | {f"{t.name}.dead" for t in topics if t.dead_letters}
    assert {topic for layout in LAYOUTS.values() for topic in layout.topics} == wanted
    assert all(topic in LAYOUTS[table_name(topic)].topics for topic in wanted)


def test_derived_tables_are_declared() -> None:
    declared = declared_tables()
    assert set(DERIVED) <= set(declared)
    assert {name for names in DERIVED.values() for name in names} <= set(declared)
    assert all(list(declared[f"{table}_feed"]) == list(declared[table]) for table in DERIVED)


def test_a_field_that_some_records_of_the_topic_lack_is_null_for_them() -> None:
    columns = {column.name: column for column in LAYOUTS["sessions_events"].columns}
    assert columns["ended_at"].nullable
    assert columns["ended_at"].default is None
    assert not columns["session_id"].nullable


def test_records_that_mean_different_things_by_a_name_are_refused() -> None:
    def schema(name: str, kind: str) -> dict[str, object]:
        return {"type": "record", "name": name, "fields": [{"name": "level", "type": kind}]}

    topic = Topic(
        name="a.b", description="", key="level", partitions=1, cleanup="delete", schemas=("One", "Two"),
        producers=(), consumers=(), dead_letters=False,
    )  # fmt: skip
    contract = Contract(
        {"a.b": topic},
        {
            "One": schema("One", "int"),
            "Two": schema("Two", "string"),
            "RecordDeadLettered": schema("RecordDeadLettered", "int"),
        },
    )
    with pytest.raises(ValueError, match="RENAMED"):
        layouts(contract)
