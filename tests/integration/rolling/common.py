"""What the two releases of the simulated platform share: how a schema, a topic and a total look."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from libs.events.catalogue import RECORDS
from libs.events.contract import DEAD_LETTER, Contract, Topic, load_contract
from libs.events.record import Record

READINGS = "sim.readings"
TOTALS = "sim.totals"
STATE = "state.totals"


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    """An Avro record with the common fields, the station, and `fields`."""
    texts = [{"name": each, "type": "string"} for each in ("event_id", "cause_id", "station_id")]
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    moments = [{"name": each, "type": moment} for each in ("occurred_at", "recorded_at")]
    return {"type": "record", "name": name, "namespace": "voltbus", "fields": [*texts, *moments, *fields]}


def enum(name: str, *symbols: str) -> dict[str, Any]:
    """An Avro enum whose default is UNKNOWN."""
    return {"type": "enum", "name": name, "symbols": list(symbols), "default": "UNKNOWN"}


def contract(schemas: Mapping[str, dict[str, Any]], readings: tuple[str, ...]) -> Contract:
    """Topics of the slice with `schemas`; `readings`: the kinds on the input."""

    def topic(name: str, kinds: tuple[str, ...], cleanup: Any = "delete") -> Topic:
        return Topic(
            name=name, description="", key="station_id", partitions=2, cleanup=cleanup, schemas=kinds,
            producers=(), consumers=(), dead_letters=bool(kinds),
        )  # fmt: skip

    topics = (
        topic(READINGS, readings),
        topic(TOTALS, ("TotalChanged",)),
        topic(STATE, (), "compact"),
    )
    letter = load_contract().schemas[DEAD_LETTER]
    return Contract({each.name: each for each in topics}, {**schemas, DEAD_LETTER: letter})


@contextmanager
def installed(records: Mapping[str, type[Record]]) -> Iterator[None]:
    """Within it these are the record classes of the platform, as if no others had ever been installed."""
    RECORDS.update(records)
    try:
        yield
    finally:
        for name in records:
            del RECORDS[name]
