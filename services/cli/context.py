"""The client that a command uses."""

import typer

from services.cli.client import Client


def api(context: typer.Context) -> Client:
    """The client that the program was started with."""
    client: Client = context.obj
    return client


def given(**fields: object) -> dict[str, object]:
    """The fields whose option was used."""
    return {name: value for name, value in fields.items() if value is not None}
