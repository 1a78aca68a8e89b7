"""The bus settings of tests: one stack, a namespace of their own."""

from typing import Any

from msgspec.structs import replace

from libs.bus.admin import Applied, apply_contract
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.contract import Contract, load_contract

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


async def make_topics(settings: BusSettings, contract: Contract | None = None) -> Applied:
    """The contract's topics, which keep all that is written to them.

    Brokers delete what is older than a topic's retention by the records' own times, which in tests are of any day.
    """
    whole = contract or load_contract()
    kept = {
        name: topic if topic.retention_ms is None else replace(topic, retention_ms=-1)
        for name, topic in whole.topics.items()
    }
    return await apply_contract(settings, replace(whole, topics=kept))
