"""Real Kafka, schema registry and ClickHouse on loopback, from ordinary package registries.

`ProcessStack` runs them as child processes; `docker.DockerStack` offers the same interface where a Docker
engine answers; `open_stack` chooses. All give `Endpoints`.
"""

from libs.devstack.endpoints import Endpoints, Ports
from libs.devstack.errors import StackError
from libs.devstack.stack import ProcessStack, Stack, open_stack

__all__ = ["Endpoints", "Ports", "ProcessStack", "Stack", "StackError", "open_stack"]
