"""Whether a charger's answer to a command is a yes or a no."""

from typing import Any

import pytest

from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.results import ACCEPTING, REFUSING, interpret_result
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal, statuses


@pytest.mark.parametrize(
    ("version", "action"), [(v, a) for v in Version for a, r in ROUTES[v].items() if r.to_station]
)
def test_every_listed_status_has_a_verdict(version: Version, action: str) -> None:
    base = minimal(version, action, "response")
    for status in statuses(version, action):
        assert status in REFUSING | ACCEPTING
        verdict, word = interpret_result(version, action, {}, base | {"status": status})
        assert (verdict, word) == ("accepted" if status in ACCEPTING else "rejected", status)


def test_no_status_is_both() -> None:
    assert not ACCEPTING & REFUSING


@pytest.mark.parametrize(
    ("action", "result", "verdict"),
    [
        ("GetLocalListVersion", {"versionNumber": 0}, "accepted"),
        ("CostUpdated", {}, "accepted"),
        ("UnlockConnector", {"status": "UnlockFailed"}, "rejected"),
        ("SetVariables", {"setVariableResult": [{"attributeStatus": "RebootRequired"}]}, "accepted"),
        (
            "SetVariables",
            {"setVariableResult": [{"attributeStatus": "Accepted"}, {"attributeStatus": "Rejected"}]},
            "rejected",
        ),
        ("ClearVariableMonitoring", {"clearMonitoringResult": [{"status": "NotFound"}]}, "rejected"),
    ],
)
def test_verdicts(action: str, result: dict[str, Any], verdict: str) -> None:
    assert interpret_result(Version.V201, action, {}, result)[0] == verdict
