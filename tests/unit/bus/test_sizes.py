"""The largest record that is written is one that every topic takes."""

from libs.bus.admin import wanted_topics
from libs.bus.message import LONGEST_HEADER, headers_for
from libs.bus.settings import DEAD_LETTER_BYTES, MAX_RECORD_BYTES, TOPIC_BYTES, BusSettings
from libs.events.contract import load_contract
from libs.events.ids import new_id
from libs.events.ocpp_log import OcppCallReceived


def call(action: str) -> OcppCallReceived:
    return OcppCallReceived(
        event_id=new_id(), occurred_at=0, recorded_at=0, cause_id="", station_id="cp1", connection_epoch=1,
        edge_id="edge", version="ocpp1.6", message_id="m", action=action, payload="{}",
    )  # fmt: skip


def test_every_topic_takes_the_largest_record_and_every_dead_letter_topic_what_is_said_about_it() -> None:
    settings = BusSettings()
    for topic in wanted_topics(settings, load_contract()):
        taken = int(topic.topic_configs["max.message.bytes"])
        assert taken == (DEAD_LETTER_BYTES if topic.name.endswith(".dead") else TOPIC_BYTES), topic.name
    assert MAX_RECORD_BYTES < TOPIC_BYTES < DEAD_LETTER_BYTES


def test_headers_never_take_more_than_their_share_whatever_came_from_outside() -> None:
    headers = headers_for(call("x" * 1_000_000), "edge", "y" * 1_000_000)
    assert {name for name, _ in headers}.isdisjoint({"ce_subject", "traceparent"})
    headers = headers_for(call("x" * LONGEST_HEADER), "edge", "y" * LONGEST_HEADER)
    assert {"ce_subject", "traceparent"} <= {name for name, _ in headers}
    assert sum(len(name) + len(value) for name, value in headers) < TOPIC_BYTES - MAX_RECORD_BYTES
