"""The bus settings of tests: one stack, a namespace of their own."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from libs.bus.admin import Applied, apply_contract, delete_topics, register_schemas
from libs.bus.bus import contract_topics
from libs.bus.schemas import SCHEMAS_TOPIC, RegisteredSchema
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.contract import Contract, dead_letter_topic, load_contract

SESSION_TIMEOUT_S = 2.0
"""So long do the others wait for a member that was killed; the default is made for slow networks."""


def bus_settings(endpoints: Endpoints, namespace: str, **others: Any) -> BusSettings:
    """Settings of a bus on these servers whose topics begin with `namespace`, each with two partitions."""
    usual: dict[str, Any] = {
        "kafka": endpoints.bootstrap,
        "registry_url": endpoints.registry_url,
        "namespace": namespace,
        "partitions": 2,
        "slots": 2,
        "kafka_session_timeout_s": SESSION_TIMEOUT_S,
    }
    return BusSettings(**usual | others)


_registered: dict[str, Mapping[str, RegisteredSchema]] = {}
"""What each registry has of the platform's contract, by topic."""


async def make_topics(settings: BusSettings, contract: Contract | None = None) -> Applied:
    """The contract's topics, which keep all that is written to them.

    Brokers delete what is older than a topic's retention by the records' own times, which in tests are of any day.
    The platform's own schemas are registered for the first namespace only. Others have the same with the same ids: a
    registry takes seconds of CPU to compare them all.
    """
    platform = load_contract()
    whole = contract or platform
    known = whole.schemas == platform.schemas and whole.topics.items() <= platform.topics.items()
    kept = {
        name: topic if topic.retention_ms is None else replace(topic, retention_ms=-1)
        for name, topic in whole.topics.items()
    }
    whole = replace(whole, topics=kept)
    if not known:
        return await apply_contract(settings, whole)
    if settings.registry_url not in _registered:
        _registered[settings.registry_url] = await register_schemas(settings, platform)
    schemas = {
        name: replace(_registered[settings.registry_url][name], subject=f"{settings.topic(name)}-value")
        for name, _ in contract_topics(whole)
    }
    return await apply_contract(settings, whole, schemas)


async def drop_topics(settings: BusSettings) -> None:
    """Delete the contract's topics: a broker that keeps them all grows slow."""
    topics = load_contract().topics.values()
    dead = [dead_letter_topic(topic.name) for topic in topics if topic.dead_letters]
    await delete_topics(settings, [*(topic.name for topic in topics), *dead, SCHEMAS_TOPIC])
