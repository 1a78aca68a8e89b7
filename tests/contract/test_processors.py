"""Topic files name exactly the processors that read and write them."""

from typing import Any

import pytest

from libs.bus.processor import Processor
from libs.events.contract import load_contract
from tests.contract.processors import every_processor

PROCESSORS: list[Processor[Any]] = [kind() for kind in every_processor()]
TOPICS = load_contract().topics


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.name)
def test_topic_files_name_its_inputs_and_outputs(processor: Processor[Any]) -> None:
    private = {processor.state_topic} if processor.state is not None else set()
    reads = {name for name, topic in TOPICS.items() if processor.name in topic.consumers}
    writes = {name for name, topic in TOPICS.items() if processor.name in topic.producers}
    assert reads == {*processor.inputs, *processor.tables} | private
    assert writes == {*processor.outputs} | private


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.name)
def test_joined_topics_are_partitioned_alike(processor: Processor[Any]) -> None:
    names = [*processor.inputs, *([processor.state_topic] if processor.state is not None else [])]
    assert len({(TOPICS[name].partitions, TOPICS[name].scaling) for name in names}) == 1


def test_topic_files_name_every_processor_and_nobody_else() -> None:
    services = {"edge", "api", "cli", "sink", "certificates", "downstream"}
    named = {name for topic in TOPICS.values() for name in (*topic.producers, *topic.consumers)}
    assert named == {processor.name for processor in PROCESSORS} | services
