"""What headers alone decide."""

from __future__ import annotations

import pytest

from libs.bus.header_filter import HeaderFilter
from libs.bus.message import headers_for
from libs.bus.processor import Processor
from libs.events.ids import new_id
from libs.events.ocpp_log import OcppCallReceived


class Everything(Processor[None]):
    name = "everything"


class OnlyBoots(Processor[None]):
    name = "only-boots"

    def __init__(self) -> None:
        self.asked = 0

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        self.asked += 1
        return (topic, kind, subject) == ("ocpp.lifecycle", "OcppCallReceived", "BootNotification")


def headers(action: str) -> list[tuple[str, bytes]]:
    event_id = new_id()
    record = OcppCallReceived(
        event_id=event_id, occurred_at=1, recorded_at=1, cause_id=event_id, station_id="s", connection_epoch=1,
        edge_id="e", version="ocpp1.6", message_id="m", action=action, payload="{}",
    )  # fmt: skip
    return headers_for(record, "edge")


def test_a_processor_wants_everything_unless_it_says_otherwise() -> None:
    assert HeaderFilter(Everything()).wants("ocpp.lifecycle", headers("Heartbeat"))


def test_topic_kind_and_subject_decide_and_are_asked_about_once() -> None:
    processor = OnlyBoots()
    header_filter = HeaderFilter(processor)
    for _ in range(3):
        assert header_filter.wants("ocpp.lifecycle", headers("BootNotification"))
        assert not header_filter.wants("ocpp.lifecycle", headers("Heartbeat"))
        assert not header_filter.wants("ocpp.transactions", headers("BootNotification"))
    assert processor.asked == 3


@pytest.mark.parametrize(
    "unreadable",
    [
        [],
        [("ce_subject", b"Heartbeat")],
        [("ce_type", b"somebody.else")],
        [("ce_type", b"voltbus.OcppCallReceived")],
        [("ce_type", b"voltbus.\xff")],
        [("ce_type", b"voltbus.OcppCallReceived"), ("ce_subject", b"\xff")],
    ],
)
def test_what_headers_do_not_tell_has_to_be_decoded(unreadable: list[tuple[str, bytes]]) -> None:
    assert HeaderFilter(OnlyBoots()).wants("ocpp.lifecycle", unreadable)
