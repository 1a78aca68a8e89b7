"""`voltbus`: the program and its subcommands.

Exit status: 0 done, 1 refused or failed, 2 used wrongly.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from services.cli import (
    access,
    audit,
    backtest,
    bulk,
    bus,
    cdrs,
    certificates,
    control,
    decisions,
    equipment,
    history,
    live,
    login,
    organisations,
    quirks,
    reconciliation,
    rederive,
    rights,
    security,
    sites,
    stations,
    tariffs,
    tokens,
    worklist,
)
from services.cli.client import DEFAULT_URL, Client, CliError
from services.cli.output import console, printable
from services.cli.signed_in import key_for

app = typer.Typer(
    name="voltbus",
    help="Run a network of EV chargers: what is configured, what happens, what it costs.\n\n"
    "VOLTBUS_API_URL says where the API is, VOLTBUS_API_KEY is a key of it; without one, `voltbus login`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(stations.app, name="stations")
app.add_typer(sites.app, name="sites")
app.add_typer(tokens.app, name="tokens")
app.add_typer(tariffs.app, name="tariffs")
app.add_typer(organisations.app, name="organisations")
app.add_typer(history.sessions, name="sessions")
app.add_typer(history.cdrs, name="cdr")
app.add_typer(history.cdrs, name="cdrs", hidden=True)
app.command("state")(live.state)
app.command("watch")(live.watch)
app.add_typer(control.command, name="command")
app.add_typer(bulk.app, name="bulk")
app.add_typer(control.campaigns, name="campaigns")
app.add_typer(bus.contract, name="contract")
app.add_typer(bus.dlq, name="dlq")
app.add_typer(quirks.app, name="quirks")
app.add_typer(certificates.app, name="certificates")
app.add_typer(security.app, name="security")
app.add_typer(worklist.app, name="worklist")
app.add_typer(access.accounts, name="accounts")
app.add_typer(access.keys, name="keys")
app.add_typer(audit.app, name="audit")
app.command("login")(login.login)
app.command("logout")(login.logout)
history.sessions.command("decide")(decisions.decide)
history.sessions.command("decisions")(decisions.decisions)
app.command("reconcile")(reconciliation.reconcile)
history.cdrs.command("explain")(cdrs.explain)
history.cdrs.command("verify")(cdrs.verify)
history.sessions.command("rederive")(rederive.rederive)
history.sessions.command("recall")(rederive.recall)
bus.contract.command("rights")(rights.show_or_apply)
app.command("backtest")(backtest.backtest)
stations.app.command("get-variables")(equipment.get_variables)
stations.app.command("set-variables")(equipment.set_variables)
stations.app.command("device-model")(equipment.device_model)
stations.app.command("sync-list")(equipment.sync_list)
stations.app.command("ask-log")(equipment.ask_log)
stations.app.command("logs")(equipment.list_logs)


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[
        str, typer.Option("--api-url", envvar="VOLTBUS_API_URL", help="Where the API is.")
    ] = DEFAULT_URL,
) -> None:
    """Make the client that the subcommands use."""
    if context.obj is None:
        url = url.rstrip("/")
        context.obj = Client(url, os.environ.get("VOLTBUS_API_KEY") or key_for(url))


@app.command("run")
def run(service: Annotated[str, typer.Argument(help="Such as edge, api or sink.")]) -> None:
    """Start a service in the foreground, like `python -m services.<name>`."""
    known = sorted(path.parent.name for path in Path(__file__).parents[1].glob("*/settings.py"))
    if service not in known:
        raise typer.BadParameter(f"no service {service!r}; there are {', '.join(known)}")
    sys.argv = [f"voltbus run {service}"]
    runpy.run_module(f"services.{service}", run_name="__main__")


def main() -> None:
    """The `voltbus` command."""
    try:
        app()
    except CliError as error:
        fail(error)
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def fail(error: CliError) -> None:
    """Say what went wrong and end with status 1."""
    for number, line in enumerate(str(error).split("\n")):
        prefix = "error: " if number == 0 else ""
        console(error=True).print(Text.assemble((prefix, "bold red"), printable(line)))
    sys.exit(1)
