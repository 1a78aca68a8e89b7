"""What a symbol of an enum becomes that only a newer version of the platform knows: Avro's rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from libs.events.codec import BadValueError, Codec
from libs.events.contract import Contract, load_contract
from libs.events.ocpp_log import DispatchRefused, RefusalReason
from tests.unit.events.avro import by_fastavro, plain

TOPIC = "ocpp.commands"
PLATFORM = load_contract()


def with_reason(**enum: Any) -> Contract:
    """The contract with another definition of why a dispatch was refused."""
    schema = copy.deepcopy(PLATFORM.schemas["DispatchRefused"])
    field = next(field for field in schema["fields"] if field["name"] == "reason")
    field["type"].pop("default", None)
    field["type"] |= enum
    return Contract(PLATFORM.topics, {**PLATFORM.schemas, "DispatchRefused": schema})


NEWER = with_reason(symbols=["NOT_HERE", "TOO_LATE", "INVALID", "PAUSED"])


def paused(contract: Contract) -> tuple[Codec, bytes]:
    """A codec of `contract`, and a record that the newer version wrote with its new symbol."""
    schema = NEWER.value_schema(TOPIC)
    fields = {
        "event_id": "e", "station_id": "s", "occurred_at": 1, "recorded_at": 2, "cause_id": "c",
        "connection_epoch": 1, "edge_id": "e", "command_id": "d", "slot": 0, "reason": "PAUSED", "detail": "",
    }  # fmt: skip
    value = b"\0" + (2).to_bytes(4, "big") + by_fastavro(plain(schema), ("voltbus.DispatchRefused", fields))
    return Codec(contract, {TOPIC: 1}, {2: schema}), value


def test_a_new_symbol_is_read_as_the_default() -> None:
    codec, value = paused(with_reason(default="INVALID"))
    record = codec.decode(value)
    assert isinstance(record, DispatchRefused)
    assert record.reason is RefusalReason.INVALID
    assert codec.decode_fields(value)[1]["reason"] == "INVALID"


def test_without_a_default_the_record_cannot_be_read() -> None:
    codec, value = paused(with_reason())
    with pytest.raises(BadValueError, match="PAUSED"):
        codec.decode(value)
