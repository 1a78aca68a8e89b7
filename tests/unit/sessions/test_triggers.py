"""Each step says why the charger told it; a step that merely repeats what is known is not told again."""

from typing import Any

import pytest

from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds
from tests.unit.sessions.signs import status16

VERSIONS = ["ocpp2.0.1", "ocpp2.1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_step_says_why(version: str) -> None:
    more: dict[str, Any] = {"version": version}
    told = Told(
        [
            event2("Started", "a", 0, NOON, 0, trigger="CablePluggedIn", state="EVConnected", **more),
            event2("Updated", "a", 1, NOON + MINUTE, 0, trigger="Authorized", tag="TAG-A", **more),
            event2(
                "Updated",
                "a",
                2,
                NOON + 2 * MINUTE,
                0,
                trigger="ChargingStateChanged",
                state="Charging",
                **more,
            ),
            event2("Updated", "a", 3, NOON + 3 * MINUTE, 900, **more),
            event2("Updated", "a", 4, NOON + 4 * MINUTE, 900, **more),
            event2("Updated", "a", 5, NOON + 5 * MINUTE, 900, trigger="MeterValueClock", **more),
            event2("Updated", "a", 6, NOON + 6 * MINUTE, 900, trigger="EVCommunicationLost", **more),
            event2("Updated", "a", 7, NOON + 7 * MINUTE, 900, trigger="EVDetected", **more),
            event2("Updated", "a", 8, NOON + 8 * MINUTE, 900, trigger="RemoteStop", **more),
        ]
    )
    assert told.starts[0].trigger == "CablePluggedIn"
    assert [u.trigger for u in told.updates] == [
        "CablePluggedIn",
        "Authorized",
        "ChargingStateChanged",
        "MeterValuePeriodic",
        "EVCommunicationLost",
        "EVDetected",
        "RemoteStop",
    ]
    again = event2("Updated", "a", 8, NOON + 8 * MINUTE, 900, trigger="RemoteStop", event="again", **more)
    older = event2(
        "Updated", "a", 6, NOON + 6 * MINUTE, 900, trigger="EVCommunicationLost", event="again", **more
    )
    assert told.tell(again, older) == []


@pytest.mark.parametrize(
    ("reason", "trigger", "told_reason"),
    [
        ("EmergencyStop", "AbnormalCondition", "EmergencyStop"),
        (None, "EVDeparted", "EVDeparted"),
        (None, "RemoteStop", "RemoteStop"),
        (None, "MeterValuePeriodic", "Local"),
        (None, "Trigger", "Local"),
    ],
)
def test_why_a_transaction_of_2x_ended(reason: str | None, trigger: str, told_reason: str) -> None:
    told = Told([event2("Started", "a", 0, NOON, 0)])
    told.tell(event2("Ended", "a", 1, NOON + HOUR, 10, reason=reason, trigger=trigger))
    assert (told.ends[0].reason, told.cdrs[0].reason) == (told_reason, told_reason)


def test_a_start_that_is_not_known_has_no_trigger() -> None:
    told = Told([event2("Updated", "a", 1, NOON, 0, trigger="ChargingStateChanged")])
    told.tick(NOON + 48 * HOUR)
    assert kinds(told.records()) == ["SessionStarted", "SessionEnded", "CdrIssued"]
    assert told.starts[0].trigger == ""


def test_in_16_it_is_the_connectors_status() -> None:
    told = Told([start16(7, NOON, 0), meter16(7, NOON + MINUTE, 100)])
    told.tell(
        status16("Charging", NOON + 2 * MINUTE),
        status16("Charging", NOON + 3 * MINUTE),
        status16("SuspendedEV", NOON + 4 * MINUTE),
        status16("Faulted", NOON + 5 * MINUTE),
        status16("SuspendedEV", NOON + 1 * MINUTE),
        status16("Finishing", NOON + 6 * MINUTE),
        stop16(7, NOON + 7 * MINUTE, 200),
        status16("Available", NOON + 8 * MINUTE),
    )
    assert told.starts[0].trigger == ""
    assert [(u.trigger, u.charging_state, u.energy_wh) for u in told.updates] == [
        ("", None, 100),
        ("Charging", "Charging", 100),
        ("SuspendedEV", "SuspendedEV", 100),
        ("Faulted", "SuspendedEVSE", 100),
        ("Finishing", "EVConnected", 100),
    ]
    assert told.ends[0].reason == "EVDisconnected"


def test_what_was_told_before_the_start_is_told_with_it() -> None:
    told = Told([status16("Charging", NOON), start16(7, NOON, 0)])
    assert [(u.trigger, u.charging_state) for u in told.updates] == [("", "Charging")]
