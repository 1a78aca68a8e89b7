"""`python -m deploy.local up|demo`."""

import os
import re
import sys
from collections.abc import Mapping
from typing import Final

import typer

from deploy.local.demo import run_demo
from deploy.local.platform import GO_ON, Platform, from_here, is_full, run_until_interrupted
from deploy.local.settings import LocalSettings
from libs.devstack import StackError
from libs.devstack.clickhouse import USER as CLICKHOUSE_USER
from libs.runtime.settings import read_settings
from libs.runtime.stopping import interrupt_on_signals

app = typer.Typer(
    help="The whole platform on this machine, without Docker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def up() -> None:
    """Run the platform in the foreground until Ctrl-C; its data is kept."""
    settings = read_settings(LocalSettings)
    platform = Platform(settings, long_running=True)
    try:
        platform.start(_say)
        try:
            sign_in = platform.first_sign_in()
        except BaseException:
            platform.stop()
            raise
        for line in _endpoints(platform, sign_in):
            print(line)
        sys.stdout.flush()
        run_until_interrupted(platform, _say)
    except Exception:
        # Whatever goes wrong on a full disk goes wrong for that.
        platform.check_room()
        raise


@app.command()
def demo() -> None:
    """Run the demonstration on a platform of its own; exit status 0 only if every figure agrees."""
    raise typer.Exit(run_demo(_say))


def _endpoints(platform: Platform, sign_in: str) -> list[str]:
    stack = platform.stack.endpoints
    open_to = [
        name
        for name, policy in (
            ("stations", platform.settings.unknown_stations),
            ("tokens", platform.settings.unknown_tokens),
        )
        if policy != "reject"
    ]
    lines = [
        "",
        "Voltbus is up.",
        f"  chargers    {platform.edge_url}/<station>   (ocpp1.6, ocpp2.0.1, ocpp2.1)",
        f"  console     {platform.console_url}   ({sign_in})",
        f"  API         {platform.api_url}/api/v1   (documentation: {platform.api_url}/api/v1/docs)",
        f"  API key     {platform.secrets.api_key}",
        f"  Kafka       {stack.bootstrap}",
        f"  registry    {stack.registry_url}",
        f"  ClickHouse  {stack.clickhouse_host}:{stack.clickhouse_port}   "
        f"(user {CLICKHOUSE_USER}, password {platform.secrets.clickhouse_password})",
        f"  logs        {from_here(platform.folder / 'logs')}",
    ]
    lines += in_force(platform, os.environ)
    if open_to:
        lines.append(f"  Unknown {' and '.join(open_to)} are let in here; in production they are not.")
    lines += [
        "",
        f"  export VOLTBUS_API_URL={platform.api_url} VOLTBUS_API_KEY={platform.secrets.api_key}",
        "  Ctrl-C stops it; the data stays.",
    ]
    return lines


_SECRET: Final = re.compile("KEY|PASSWORD|SECRET|CREDENTIAL")


def in_force(platform: Platform, environment: Mapping[str, str]) -> list[str]:
    """For people: what was set and counts, what was set and does not, and what the services are told beside it."""
    own = {f"VOLTBUS_{name.upper()}" for name in LocalSettings.model_fields}
    told = {name: value for service in platform.services.values() for name, value in service.settings.items()}
    given = {
        name: value for name, value in sorted(environment.items()) if value and name.startswith("VOLTBUS_")
    }
    fixed = [name for name, value in given.items() if name not in own and told.get(name, value) != value]
    yours = [
        name if _SECRET.search(name) else f"{name}={value}"
        for name, value in given.items()
        if name not in fixed
    ]
    shown = platform.settings.model_dump(
        include={"brokers", "edge_processes", "partitions", "unknown_stations", "unknown_tokens", "deferred"}
    )
    defaults = [
        f"{variable}={value}"
        for name, value in shown.items()
        if (variable := f"VOLTBUS_{name.upper()}") not in given
    ]
    lines = [f"  set by you  {', '.join(yours)}"] if yours else []
    if fixed:
        lines.append(f"  not used    {', '.join(fixed)}: here it is the platform that says it")
    return [*lines, f"  defaults    {', '.join(defaults)}"] if defaults else lines


if __name__ == "__main__":
    interrupt_on_signals()
    try:
        app()
    except StackError as error:
        sys.exit(f"voltbus: {error}")
    except OSError as error:
        if not is_full(error):
            raise
        sys.exit(f"voltbus: the disk is full: {error}. {GO_ON}")
