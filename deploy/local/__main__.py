"""`python -m deploy.local up|demo`."""

import sys

import typer

from deploy.local.demo import run_demo
from deploy.local.platform import Platform, from_here, run_until_interrupted
from deploy.local.settings import LocalSettings
from libs.runtime.settings import read_settings
from libs.runtime.stopping import interrupt_on_signals
from libs.testing.localstack import StackError

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
    platform.start(_say)
    for line in _endpoints(platform):
        print(line)
    sys.stdout.flush()
    run_until_interrupted(platform, _say)


@app.command()
def demo() -> None:
    """Run the demonstration on a platform of its own; exit status 0 only if every figure agrees."""
    raise typer.Exit(run_demo(_say))


def _endpoints(platform: Platform) -> list[str]:
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
        f"  API         {platform.api_url}/api/v1   (documentation: {platform.api_url}/api/v1/docs)",
        f"  API key     {platform.secrets.api_key}",
        f"  Kafka       {stack.bootstrap}",
        f"  registry    {stack.registry_url}",
        f"  ClickHouse  {stack.clickhouse_host}:{stack.clickhouse_port}   "
        f"(browser: http://{stack.clickhouse_host}:{stack.clickhouse_http_port}/play)",
        f"  logs        {from_here(platform.folder / 'logs')}",
    ]
    if open_to:
        lines.append(f"  Unknown {' and '.join(open_to)} are let in here; in production they are not.")
    lines += [
        "",
        f"  export VOLTBUS_API_URL={platform.api_url} VOLTBUS_API_KEY={platform.secrets.api_key}",
        "  Ctrl-C stops it; the data stays.",
    ]
    return lines


if __name__ == "__main__":
    interrupt_on_signals()
    try:
        app()
    except StackError as error:
        sys.exit(f"voltbus: {error}")
