"""Rows of ClickHouse become the records again that the sink stored."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.bus.raw_consumer import Partition
from libs.clickhouse.table_mapping import layouts
from libs.events.catalogue import RECORDS
from libs.events.codec import Codec
from libs.events.contract import load_contract
from services.api.rows import record_of
from services.sink.domain.blocks import build_block

CONTRACT = load_contract()
CODEC = Codec(CONTRACT, {name: i for i, name in enumerate(CONTRACT.topics) if CONTRACT.topics[name].schemas})
LAYOUTS = {topic: layout for layout in layouts(CONTRACT).values() for topic in layout.topics}
EXAMPLES = sorted(Path("proto_schemas/examples").glob("*/*.json"))
HOME = {name: topic.name for topic in CONTRACT.topics.values() if topic.stored for name in topic.schemas}
STORED = [path for path in EXAMPLES if path.parent.name in HOME and path.parent.name != "SessionRecalled"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Raw(msgspec.Struct):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def stored(topic: str, value: bytes) -> dict[str, Any]:
    """The row as ClickHouse gives it back."""
    layout = LAYOUTS[topic]
    record = Raw(0, 1_700_000_000_000, b"key", value)
    block = build_block(layout, {Partition(topic, 0): [record]}, CODEC.decode_fields)
    row = {name: column[0] for name, column in zip(layout.column_names, block.data, strict=True)}
    for column in layout.columns:
        if column.type.startswith("DateTime64"):
            row[column.name] = _moments(row[column.name])
    return row


def _moments(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_moments(each) for each in value]
    return value if value is None else EPOCH + timedelta(microseconds=value)


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_comes_back_as_it_was(path: Path) -> None:
    kind = RECORDS[path.parent.name]
    record = msgspec.convert(json.loads(path.read_text()), kind)
    topic = HOME[path.parent.name]
    assert record_of(kind, stored(topic, CODEC.encode(topic, record))) == record
