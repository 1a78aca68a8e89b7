"""How members of consumer groups show that they are alive."""

from libs.bus.membership import heartbeat_interval_s, membership
from libs.bus.settings import BusSettings


def test_the_session_timeout_is_a_setting_and_leaves_room_for_lost_heartbeats() -> None:
    settings = BusSettings(kafka_session_timeout_s=8)
    assert membership(settings)["session_timeout_ms"] == 8_000
    assert membership(settings)["heartbeat_interval_ms"] == 2_000
    assert heartbeat_interval_s(settings) == 2
