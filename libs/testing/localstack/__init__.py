"""Real Kafka, schema registry and ClickHouse on loopback, from ordinary package registries.

`LocalStack` runs them as child processes; `docker.DockerStack` offers the same interface where a Docker
engine answers; `open_stack` chooses. All give `Endpoints`.
"""

from libs.testing.localstack.endpoints import Endpoints, Ports
from libs.testing.localstack.errors import StackError
from libs.testing.localstack.stack import LocalStack, Stack, open_stack

__all__ = ["Endpoints", "LocalStack", "Ports", "Stack", "StackError", "open_stack"]
