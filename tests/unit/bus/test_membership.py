"""How members of consumer groups show that they are alive."""

import pytest

from libs.bus.faust_app import make_app
from libs.bus.membership import METADATA_AGE_MS, heartbeat_interval_s, membership
from libs.bus.settings import BusSettings


def test_the_session_timeout_is_a_setting_and_leaves_room_for_lost_heartbeats() -> None:
    settings = BusSettings(kafka_session_timeout_s=8)
    assert membership(settings)["session_timeout_ms"] == 8_000
    assert membership(settings)["heartbeat_interval_ms"] == 2_000
    assert heartbeat_interval_s(settings) == 2


def test_a_long_session_timeout_does_not_let_others_wait_for_who_has_not_heard_of_a_rebalance() -> None:
    assert heartbeat_interval_s(BusSettings(kafka_session_timeout_s=600)) == 3


@pytest.mark.parametrize("timeout_s", [1, 6, 600])
def test_faust_takes_every_session_timeout(timeout_s: float) -> None:
    async def nothing(*arguments: object) -> None: ...

    settings = BusSettings(kafka_session_timeout_s=timeout_s)
    conf = make_app("g", settings, ["ocpp.lifecycle"], nothing, nothing).conf
    assert conf.broker_session_timeout == timeout_s
    assert conf.broker_request_timeout >= timeout_s > conf.broker_heartbeat_interval


async def test_no_member_stands_for_minutes_because_a_broker_did_not_know_a_topic_yet() -> None:
    async def nothing(*arguments: object) -> None: ...

    assert METADATA_AGE_MS <= 10_000
    assert membership(BusSettings())["metadata_max_age_ms"] == METADATA_AGE_MS
    conf = make_app("g", BusSettings(), ["ocpp.lifecycle"], nothing, nothing).conf
    assert conf.consumer_metadata_max_age_ms == METADATA_AGE_MS
