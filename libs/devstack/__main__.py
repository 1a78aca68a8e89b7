"""Command line: `python -m libs.devstack up|fetch|lock`."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from libs.devstack import locking, packages
from libs.devstack.endpoints import Ports
from libs.devstack.errors import StackError
from libs.devstack.stack import ENDPOINTS_FILE, ProcessStack
from libs.runtime.stopping import interrupt_on_signals

app = typer.Typer(help="Kafka, schema registry and ClickHouse on loopback.", no_args_is_help=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def up(
    *,
    data: Annotated[Path, typer.Option(help="Folder of data, logs and endpoints.json.")] = Path(
        ".voltbus/stack"
    ),
    brokers: Annotated[int, typer.Option(help="1 or 3.")] = 1,
    kafka_port: Annotated[int, typer.Option(help="The first broker's; others follow it.")] = 9092,
    registry_port: int = 8081,
    clickhouse_port: int = 9000,
) -> None:
    """Run the stack in the foreground until Ctrl-C or SIGTERM."""
    interrupt_on_signals()
    kafka = tuple(range(kafka_port, kafka_port + brokers))
    ports = Ports(kafka, registry_port, clickhouse_port)
    stack = ProcessStack(data, brokers, ports, long_running=True)
    try:
        endpoints = stack.start(_say)
        print(f"kafka {endpoints.bootstrap}")
        print(f"registry {endpoints.registry_url}")
        print(f"clickhouse {endpoints.clickhouse_host}:{endpoints.clickhouse_port}")
        print(f"endpoints {stack.folder / ENDPOINTS_FILE}", flush=True)
        while True:
            time.sleep(1)
            stack.revive(_say)
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        stack.stop()


@app.command()
def fetch() -> None:
    """Download the packages and stop there."""
    packages.ensure(_say)


@app.command()
def lock() -> None:
    """Resolve the packages' dependencies anew and write the lock file (to raise a version)."""
    locking.write_lock(_say)


if __name__ == "__main__":
    try:
        app()
    except StackError as error:
        sys.exit(f"devstack: {error}")
