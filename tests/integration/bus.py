"""The bus settings of tests: one stack, a namespace of their own."""

from typing import Any

from libs.bus.settings import BusSettings
from libs.devstack import Endpoints

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
