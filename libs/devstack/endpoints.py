"""Where a running stack is reached."""

import json
import os
import random
import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoints:
    """Addresses of a running stack, whatever runs it."""

    bootstrap: str
    """Kafka bootstrap servers, `host:port` separated by commas."""
    registry_url: str
    """Base URL of the registry's Confluent-compatible API, no slash at the end; empty without one."""
    clickhouse_host: str
    """Host of ClickHouse; empty without ClickHouse."""
    clickhouse_port: int
    """ClickHouse's native port; 0 without ClickHouse."""

    @classmethod
    def on_loopback(cls, ports: "Ports", registry: bool, clickhouse: bool) -> "Endpoints":
        """Return the endpoints of a stack on these loopback ports, with or without its optional parts."""
        return cls(
            bootstrap=",".join(f"{HOST}:{port}" for port in ports.kafka),
            registry_url=f"http://{HOST}:{ports.registry}/apis/ccompat/v7" if registry else "",
            clickhouse_host=HOST if clickhouse else "",
            clickhouse_port=ports.clickhouse if clickhouse else 0,
        )

    def save(self, path: Path) -> None:
        """Write the endpoints as JSON; readers see the old or the new file, never a part of one."""
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Endpoints":
        """Read what `save` wrote. Raises OSError, ValueError or TypeError when it is not such a file."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True)
class Ports:
    """The ports that clients use; the stack picks its internal ones itself."""

    kafka: tuple[int, ...]
    """One port for each broker."""
    registry: int
    clickhouse: int

    @classmethod
    def free(cls, brokers: int = 1) -> "Ports":
        """Ports that nothing listens on now."""
        ports = free_ports(brokers + 2)
        return cls(tuple(ports[:brokers]), *ports[brokers:])


# Below the range from which Linux and macOS number outgoing connections: a client that retries a
# dead server on a port of that range can be connected to itself and then keeps the server out.
PORTS = range(15000, 32000)
SHARE = "VOLTBUS_TEST_PORTS"
"""Environment variable: the part of `PORTS` that is this process's, `FIRST-LAST`, where others look for ports too."""


_given: set[int] = set()


def free_ports(count: int, taken: Collection[int] = ()) -> list[int]:
    """Return `count` different loopback ports that nothing listens on now and that are not in `taken`.

    None is given to this process twice while there are others: whoever asked for it may not listen on it yet.
    """
    first, _, last = os.environ.get(SHARE, f"{PORTS[0]}-{PORTS[-1]}").partition("-")
    share = range(int(first), int(last) + 1)
    ports: list[int] = []
    for port in sorted(random.sample(share, len(share)), key=_given.__contains__):
        if len(ports) == count:
            break
        if port in taken:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        ports.append(port)
    _given.update(ports)
    return ports
