"""Batches of raw records as blocks of columns."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from libs.bus.raw_consumer import Partition
from libs.clickhouse.table_mapping import TableLayout, layouts
from libs.events.codec import Codec, CodecError, UnknownSchemaIdError
from libs.events.contract import load_contract
from libs.events.dead_letters import Header, RecordDeadLettered
from libs.events.ocpp_log import CallError, OcppCallReceived
from libs.events.record import Record
from libs.events.registry import Assignment, StationRegistered, TariffRegistered, TariffVersion
from libs.events.sessions import SessionCorrected, SessionStarted
from libs.events.tariffs import TariffTerms, flat_terms
from services.sink.domain.blocks import Block, build_block

CONTRACT = load_contract()
LAYOUTS = layouts(CONTRACT)
CODEC = Codec(CONTRACT, {name: i for i, name in enumerate(CONTRACT.topics) if CONTRACT.topics[name].schemas})
EVENT: dict[str, Any] = {"event_id": "e", "occurred_at": 10, "recorded_at": 20, "cause_id": "c"}


class Raw(msgspec.Struct):
    offset: int
    value: bytes | None
    key: bytes | None = b"cp1"
    timestamp: int = 1700000000000
    headers: tuple[tuple[str, bytes], ...] = ()


def raw(topic: str, *records: Record | None, first: int = 0) -> list[Raw]:
    return [
        Raw(first + i, None if record is None else CODEC.encode(topic, record))
        for i, record in enumerate(records)
    ]


def build(topic: str, records: list[Raw], number: int = 0) -> Block:
    return build_block(layout(topic), {Partition(topic, number): records}, CODEC.decode_fields)


def layout(topic: str) -> TableLayout:
    return LAYOUTS[topic.replace(".", "_")]


def row(topic: str, block: Block, index: int = 0) -> dict[str, Any]:
    assert {len(column) for column in block.data} == {block.rows}
    return {name: column[index] for name, column in zip(layout(topic).column_names, block.data, strict=True)}


def call(**changes: Any) -> OcppCallReceived:
    fields: dict[str, Any] = {
        **EVENT, "station_id": "cp1", "connection_epoch": 7, "edge_id": "e1", "version": "ocpp1.6",
        "message_id": "m", "action": "Heartbeat", "payload": "{}",
    }  # fmt: skip
    return OcppCallReceived(**(fields | changes))


def test_a_record_is_a_row_with_its_place_in_the_log() -> None:
    block = build("ocpp.transactions", raw("ocpp.transactions", call(quirks=("a", "b")), first=41), number=3)
    found = row("ocpp.transactions", block)
    assert found["_topic"] == "ocpp.transactions"
    assert (found["_partition"], found["_offset"], found["_timestamp"]) == (3, 41, 1700000000000)
    assert (found["_key"], found["_type"], found["_deleted"]) == (b"cp1", "OcppCallReceived", False)
    assert (found["recorded_at"], found["quirks"], found["answer"]) == (20, ["a", "b"], None)
    assert block.next_offsets == {Partition("ocpp.transactions", 3): 42}


def test_a_record_inside_is_flattened_and_null_if_absent() -> None:
    records = raw(
        "ocpp.transactions", call(error=CallError(code="NotSupported", description="d", details="{}")), call()
    )
    block = build("ocpp.transactions", records)
    assert row("ocpp.transactions", block)["error_code"] == "NotSupported"
    assert row("ocpp.transactions", block)["error_details"] == "{}"
    assert row("ocpp.transactions", block, 1)["error_code"] is None


def test_a_list_of_records_is_nested_and_a_tombstone_keeps_its_place() -> None:
    sites = (Assignment(id="s1", valid_from=1), Assignment(id="s2", valid_from=2))
    records = raw("registry.stations", StationRegistered(**EVENT, station_id="cp1", sites=sites), None)
    block = build("registry.stations", records)
    assert row("registry.stations", block)["sites.id"] == ["s1", "s2"]
    gone = row("registry.stations", block, 1)
    assert (gone["_deleted"], gone["_type"], gone["station_id"]) == (True, "", "cp1")
    assert gone["recorded_at"] == 1700000000000_000
    assert gone["sites.id"] == []


def test_a_record_inside_a_list_of_records_is_json_text() -> None:
    flat = TariffVersion(version=1, valid_from=1, currency="EUR", price_per_kwh_milli=45_000)
    priced = replace(flat, version=2, terms=flat_terms(49_000))
    tariff = TariffRegistered(**EVENT, tariff_id="t", versions=(flat, priced))
    block = build("registry.tariffs", raw("registry.tariffs", tariff))
    nothing, terms = row("registry.tariffs", block)["versions.terms"]
    assert nothing == ""
    assert msgspec.json.decode(terms, type=TariffTerms) == flat_terms(49_000)


def test_fields_that_share_a_name_have_columns_of_their_own() -> None:
    base: dict[str, Any] = {
        **EVENT, "station_id": "cp1", "session_id": "s", "evse_id": 1, "transaction_id": "t",
        "started_at": 5,
    }  # fmt: skip
    block = build(
        "sessions.events",
        raw(
            "sessions.events",
            SessionStarted(**base, version="ocpp2.0.1"),
            SessionCorrected(**base, version=2, ended_at=6, energy_wh=7),
        ),
    )
    started, corrected = row("sessions.events", block), row("sessions.events", block, 1)
    assert (started["ocpp_version"], started["correction"], started["energy_wh"]) == ("ocpp2.0.1", None, None)
    assert (corrected["ocpp_version"], corrected["correction"], corrected["energy_wh"]) == (None, 2, 7)


def test_dead_letters_of_all_topics_share_a_table() -> None:
    codec = Codec(CONTRACT, {"ocpp.transactions.dead": 1, "load.plans.dead": 2})
    letter = RecordDeadLettered(
        **EVENT, record_key="k", processor="p", source_topic="ocpp.transactions", source_partition=1,
        source_offset=2, error_type="T", error="x", value=b"\xff\0", headers=(Header(name="h", value=b"\xfe"),),
    )  # fmt: skip
    batches = {
        Partition(topic, 0): [Raw(0, codec.encode(topic, letter))]
        for topic in ("ocpp.transactions.dead", "load.plans.dead")
    }
    block = build_block(LAYOUTS["dead_letters"], batches, codec.decode_fields)
    assert block.data[0] == ["load.plans.dead", "ocpp.transactions.dead"]
    assert row("dead.letters", block)["headers.value"] == [b"\xfe"]
    assert row("dead.letters", block)["value"] == b"\xff\0"


@pytest.mark.parametrize("value", [b"", b"junk", b"\0\0\0\0", CODEC.encode("ocpp.transactions", call())[:-3]])
def test_what_cannot_be_read_is_reported_and_keeps_its_place(value: bytes) -> None:
    records = raw("ocpp.transactions", call(), call(), call())
    records[1] = Raw(1, value, key=b"cp\xff")
    block = build("ocpp.transactions", records)
    assert [(bad.partition.number, bad.record.offset) for bad in block.bad] == [(0, 1)]
    assert isinstance(block.bad[0].error, CodecError)
    found = row("ocpp.transactions", block, 1)
    assert (found["_offset"], found["_type"], found["station_id"], found["_key"]) == (
        1, "undecodable", "cp\N{REPLACEMENT CHARACTER}", b"cp\xff",
    )  # fmt: skip
    assert block.rows == 3


def test_a_record_of_another_topic_is_reported_and_keeps_its_place() -> None:
    foreign = raw("registry.stations", StationRegistered(**EVENT, station_id="cp1"))[0]
    block = build("ocpp.transactions", [*raw("ocpp.transactions", call()), Raw(1, foreign.value)])
    (bad,) = block.bad
    assert str(bad.error) == "StationRegistered does not belong to this topic"
    kept = row("ocpp.transactions", block, 1)
    assert (kept["_type"], kept["_offset"], kept["event_id"]) == ("undecodable", 1, "")


def test_a_record_of_a_kind_that_only_a_newer_version_knows_keeps_its_place_and_its_name() -> None:
    schema = CONTRACT.value_schema("ocpp.transactions")
    assert isinstance(schema, list)
    codec = Codec(CONTRACT, {"ocpp.transactions": 1}, {2: [*schema, PAUSED]})
    value = b"\0" + (2).to_bytes(4, "big") + bytes([2 * len(schema)]) + b"\0"
    place = Partition("ocpp.transactions", 0)
    records = [Raw(0, codec.encode("ocpp.transactions", call())), Raw(1, value, key=b"cp1")]
    block = build_block(layout("ocpp.transactions"), {place: records}, codec.decode_fields)
    assert (block.rows, block.bad, block.unknown) == (2, (), {"ocpp.transactions": 1})
    kept = row("ocpp.transactions", block, 1)
    assert (kept["_type"], kept["_offset"], kept["station_id"]) == ("OcppCallPaused", 1, "cp1")


PAUSED = {"type": "record", "name": "OcppCallPaused", "fields": [{"name": "event_id", "type": "string"}]}


def test_an_unknown_schema_id_stops_the_block_until_it_is_hopeless() -> None:
    records = [Raw(0, b"\0\0\0\xff\xff123")]
    with pytest.raises(UnknownSchemaIdError) as caught:
        build("ocpp.transactions", records)
    assert caught.value.schema_id == 0xFFFF
    block = build_block(
        layout("ocpp.transactions"),
        {Partition("ocpp.transactions", 0): records},
        CODEC.decode_fields,
        {0xFFFF},
    )
    assert len(block.bad) == 1


def test_the_token_names_topics_partitions_and_offsets() -> None:
    batches = {
        Partition("ocpp.transactions", number): raw("ocpp.transactions", call(), call(), first=first)
        for number, first in ((2, 5), (0, 9))
    }
    block = build_block(layout("ocpp.transactions"), batches, CODEC.decode_fields)
    assert block.token == "ocpp.transactions:0:9-10,ocpp.transactions:2:5-6"
    again = build_block(layout("ocpp.transactions"), dict(reversed(batches.items())), CODEC.decode_fields)
    assert (again.token, again.data) == (block.token, block.data)
