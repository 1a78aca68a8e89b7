"""Topic files name exactly the processors that read and write them."""

from typing import Any

import pytest

from libs.bus.processor import Processor
from libs.events.contract import load_contract
from services.commands.domain.processor import CommandsProcessor
from services.firmware.domain.campaigns.processor import CampaignProcessor
from services.firmware.domain.stations.processor import StationFirmwareProcessor
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.stations.processor import LoadObserver
from services.plans.domain.processor import PlansProcessor
from services.projections.domain.sessions.processor import SessionsLatest
from services.projections.domain.stations.processor import StationsLatest
from services.provisioning.domain.capabilities.processor import CapabilitiesProcessor
from services.provisioning.domain.onboarding.processor import OnboardingProcessor
from services.sessions.domain.processor import SessionsProcessor
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from services.telemetry.domain.security.processor import SecurityWatch

PROCESSORS: list[Processor[Any]] = [
    CommandsProcessor(),
    SessionsProcessor(),
    PlansProcessor(),
    MeasurementsProcessor(),
    HealthProcessor(),
    SecurityWatch(),
    CapabilitiesProcessor(),
    OnboardingProcessor(),
    LoadObserver(),
    LoadProcessor(),
    CampaignProcessor(),
    StationFirmwareProcessor(),
    SessionsLatest(),
    StationsLatest(),
]
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


def test_every_processor_is_checked_here() -> None:
    services = {"edge", "api", "cli", "sink", "certificates", "downstream"}
    named = {name for topic in TOPICS.values() for name in (*topic.producers, *topic.consumers)}
    assert named == {processor.name for processor in PROCESSORS} | services
