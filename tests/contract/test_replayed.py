"""The replay test replays every processor and compares every derived topic, or says why it does not."""

from collections.abc import Iterable
from typing import Any

from deploy.local.platform import PROCESSORS as SERVICES
from libs.bus.processor import Processor
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
    assert _services(replayed.REPLAYED) == {*replayed.SERVICES}


def test_every_service_that_is_stopped_for_a_replay_has_processors_here() -> None:
    # The sink copies what they write.
    assert _services(PROCESSORS) | {"sink"} == {*SERVICES}


def _services(processors: Iterable[Processor[Any]]) -> set[str]:
    return {type(each).__module__.split(".")[1] for each in processors}
