"""The replay test replays every processor and compares every derived topic, or says why it does not."""

from deploy.local.platform import PROCESSORS as SERVICES
from libs.events.contract import load_contract
from tests.contract.test_processors import PROCESSORS
from tests.e2e import replayed


def test_every_processor_is_replayed_or_it_is_said_why_not() -> None:
    names = [each.name for each in replayed.REPLAYED]
    assert {*names} | replayed.NOT_REPLAYED.keys() == {each.name for each in PROCESSORS}
    assert not {*names} & replayed.NOT_REPLAYED.keys()


def test_every_topic_of_a_processor_is_compared_or_it_is_said_why_not() -> None:
    names = {each.name for each in PROCESSORS}
    written = {
        name
        for name, topic in load_contract().topics.items()
        if names & {*topic.producers} and not name.startswith("state.")
    }
    assert {*replayed.COMPARED} | replayed.NOT_COMPARED.keys() | replayed.KEPT.keys() == written
    assert replayed.NOT_COMPARED.keys() <= {*replayed.DERIVED}
    assert not {*replayed.DERIVED} & replayed.KEPT.keys()
    assert {*replayed.COMPARED} >= replayed.LATEST | replayed.MAY_BE_EMPTY


def test_every_service_of_a_replayed_processor_is_started_again() -> None:
    modules = {type(each).__module__.split(".")[1] for each in replayed.REPLAYED}
    assert modules == {*replayed.SERVICES}
    assert {*replayed.SERVICES} <= {*SERVICES}
