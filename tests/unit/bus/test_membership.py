"""How members of consumer groups show that they are alive."""

import pytest

from libs.bus.faust_app import make_app
from libs.bus.membership import heartbeat_interval_s, membership
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
