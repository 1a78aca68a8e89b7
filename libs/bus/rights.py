"""What each service has to be allowed in Kafka, as its access control lists say it: from the topic files.

One principal for each service, named as the service. `deploy` applies the contract, `cli` is the operators'
command line, `registry` the schema registry (Apicurio), `downstream` stands for consumers outside the platform.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.events.contract import Contract, Topic, dead_letter_topic

DEPLOY: Final = "deploy"
CLI: Final = "cli"
SINK: Final = "sink"
DOWNSTREAM: Final = "downstream"
REGISTRY: Final = "registry"

SERVICE_OF: Final = {
    "bulk": "commands",
    "capabilities": "provisioning",
    "certificates": "provisioning",
    "onboarding": "provisioning",
    "load-observer": "load",
    "firmware-stations": "firmware",
    "telemetry-measurements": "telemetry",
    "telemetry-health": "telemetry",
    "security-watch": "telemetry",
    "sessions-latest": "projections",
    "stations-latest": "projections",
}
"""The service of each processor that is named otherwise."""

SOLE_WRITERS: Final = {"api": ("api-access", "api-campaigns", "api-certificates", "api-registry")}
"""Transactional ids besides those of processors."""
SAME: Final = {"console": "api"}
"""Services that need what another one needs, since they are made of the same parts."""
_WITHOUT_GROUP: Final = frozenset({"api", CLI, "edge"})
_WITHOUT_TRANSACTIONS: Final = frozenset({"certificates", SINK})

ResourceType = Literal["topic", "group", "transactional-id"]
Operation = Literal["All", "Read", "Write", "Describe"]


class Right(NamedTuple):
    """`principal` may do `operation` on what is called `name`, or begins so if `prefixed`. Sorts readably."""

    principal: str
    kind: ResourceType
    name: str
    prefixed: bool
    operation: Operation


def rights(settings: BusSettings, contract: Contract) -> list[Right]:
    """Everything that services, operators and deployment may do, and nothing else; sorted, each once.

    Who reads a topic may write its dead letters, which the sink and operators read. Read and Write include Describe.
    """
    found = {right for topic in contract.topics.values() for right in _of_topic(settings, topic)}
    found |= {
        right._replace(principal=service)
        for service, other in SAME.items()
        for right in found
        if right.principal == other
    }
    services = {right.principal for right in found}
    schemas = settings.topic(SCHEMAS_TOPIC)
    found |= {Right(service, "topic", schemas, False, "Read") for service in services}
    found |= set(_of_deployment(settings, contract))
    # Whose topics and groups are named by itself, whatever the namespace.
    found |= {
        Right(REGISTRY, "topic", "kafkasql-", True, "All"),
        Right(REGISTRY, "topic", "registry-events", False, "All"),
        Right(REGISTRY, "group", "apicurio-", True, "All"),
    }
    return sorted(found)


def _of_topic(settings: BusSettings, topic: Topic) -> Iterator[Right]:
    name, dead = settings.topic(topic.name), settings.topic(dead_letter_topic(topic.name))
    for producer in topic.producers:
        service = SERVICE_OF.get(producer, producer)
        yield Right(service, "topic", name, False, "Write")
        for writer in SOLE_WRITERS.get(producer, ()):
            yield Right(service, "transactional-id", settings.group(writer), False, "Write")
    for consumer in topic.consumers:
        service = SERVICE_OF.get(consumer, consumer)
        yield Right(service, "topic", name, False, "Read")
        if topic.dead_letters and consumer not in (CLI, DOWNSTREAM):
            yield Right(service, "topic", dead, False, "Write")
        if consumer == DOWNSTREAM:
            yield Right(service, "group", f"{DOWNSTREAM}.", True, "Read")
        elif consumer not in _WITHOUT_GROUP:
            yield Right(service, "group", settings.group(consumer), False, "Read")
            if consumer not in _WITHOUT_TRANSACTIONS:
                # One for each partition.
                yield Right(service, "transactional-id", f"{settings.group(consumer)}.", True, "Write")
    if topic.schemas and not topic.confidential:
        yield Right(CLI, "topic", name, False, "Read")
    if topic.dead_letters:
        yield Right(CLI, "topic", dead, False, "Read")
        if topic.stored:
            yield Right(SINK, "topic", dead, False, "Read")


def _of_deployment(settings: BusSettings, contract: Contract) -> Iterator[Right]:
    """Makes and removes topics, publishes schemas, writes dead letters back, and rewinds processors."""
    for topic in contract.topics.values():
        yield Right(DEPLOY, "topic", settings.topic(topic.name), False, "All")
        if topic.dead_letters:
            yield Right(DEPLOY, "topic", settings.topic(dead_letter_topic(topic.name)), False, "All")
    yield Right(DEPLOY, "topic", settings.topic(SCHEMAS_TOPIC), False, "All")
    yield Right(DEPLOY, "group", settings.group(""), True, "All")
