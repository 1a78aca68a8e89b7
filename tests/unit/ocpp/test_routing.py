import pytest

from deploy.ocpp_documentation import documents
from libs.events.topics import OCPP_COMMANDS, OCPP_LIFECYCLE, OCPP_TRANSACTIONS
from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES, Direction, Policy
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal, schema_of

ALL = [(version, action) for version in Version for action in ROUTES[version]]


@pytest.mark.parametrize(
    ("version", "total", "to_csms", "to_station"),
    [(Version.V16, 39, 14, 26), (Version.V201, 64, 25, 40), (Version.V21, 91, 37, 55)],
)
def test_every_action_is_routed(version: Version, total: int, to_csms: int, to_station: int) -> None:
    routes = ROUTES[version].values()
    assert len(routes) == total
    assert sum(r.to_csms for r in routes) == to_csms
    assert sum(r.to_station for r in routes) == to_station
    assert [r.action for r in routes if r.direction is Direction.BOTH] == ["DataTransfer"]


@pytest.mark.parametrize(("version", "action"), ALL)
def test_every_action_has_its_schemas(version: Version, action: str) -> None:
    assert schemas.validate(version, action, "request", minimal(version, action, "request")) is None
    if ROUTES[version][action].is_send:
        with pytest.raises(KeyError):
            schemas.validate(version, action, "response", {})
    else:
        assert schemas.validate(version, action, "response", minimal(version, action, "response")) is None


@pytest.mark.parametrize(("version", "action"), ALL)
def test_topics_and_policies_follow_the_direction(version: Version, action: str) -> None:
    route = ROUTES[version][action]
    if route.to_csms:
        assert route.topic in (OCPP_TRANSACTIONS, OCPP_LIFECYCLE)
        assert (route.policy is Policy.NONE) == route.is_send
    else:
        assert route.topic == OCPP_COMMANDS
        assert route.policy is Policy.NONE
        assert not route.deferred


def test_transaction_topic_holds_what_bills_are_made_of() -> None:
    found = {
        action for table in ROUTES.values() for action, r in table.items() if r.topic == OCPP_TRANSACTIONS
    }
    assert found == {"Authorize", "MeterValues", "StartTransaction", "StopTransaction", "TransactionEvent"}


def test_only_a_boot_is_answered_before_acceptance_in_2x() -> None:
    for version in (Version.V201, Version.V21):
        assert [a for a, r in ROUTES[version].items() if r.before_acceptance] == ["BootNotification"]


def test_generated_documents_are_up_to_date() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"run python -m deploy.ocpp_documentation ({path.name})"
        )


@pytest.mark.parametrize("version", list(Version))
def test_answers_that_tell_the_time_or_how_a_token_stands_do_not_last(version: Version) -> None:
    passing = {action for action, route in ROUTES[version].items() if not route.lasting}
    assert passing == {"BootNotification", "Heartbeat", "Authorize"}
    told = {
        action
        for action, route in ROUTES[version].items()
        if route.to_csms
        and not route.is_send
        and "currentTime" in schema_of(version, action, "response").get("properties", {})
    }
    assert told == {"BootNotification", "Heartbeat"}
