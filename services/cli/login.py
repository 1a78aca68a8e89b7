"""`voltbus login` and `voltbus logout`."""

from typing import Annotated

import typer
from rich.text import Text

from services.cli import device, signed_in
from services.cli.client import CliError, Json
from services.cli.context import api
from services.cli.output import AsJson, console, done, moment, printable, working


def login(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Option("--account", help="Sign in with this account's name and password.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Sign in: in a browser, or with name and password. The key is kept until it ends, or `voltbus logout`."""
    client = api(context)
    provider = None if account is not None else client.open_request("GET", "/sign-in")["provider"]
    body: Json
    if provider is None:
        name: str = account or typer.prompt("Account")
        body = {"account_id": name, "password": typer.prompt("Password", hide_input=True)}
    else:
        with working("waiting for the sign-in in the browser"):
            found = device.tokens_of_person(
                provider["issuer"], provider["client_id"], provider["scopes"], _shown
            )
        body = {"id_token": found.id_token}
        if found.access_token:
            body["access_token"] = found.access_token
    made = client.open_request("POST", "/sign-in", body)
    kept = signed_in.SignedIn(made["account_id"], made["expires_at"], made["key"])
    signed_in.keep(client.url, kept)
    told = {"account_id": kept.account_id, "expires_at": kept.expires_at}
    done(told, json, f"signed in as {kept.account_id} until {moment(made['expires_at'])}")


def logout(context: typer.Context, json: AsJson = False) -> None:
    """Sign out: the key that `voltbus login` kept counts no more, and is forgotten."""
    client = api(context)
    kept = signed_in.kept().get(client.url)
    if kept is None:
        raise CliError(f"nobody is signed in to {client.url} here")
    try:
        client.open_request("POST", "/sign-out", key=kept.key)
    finally:
        signed_in.keep(client.url, None)
    done({"account_id": kept.account_id}, json, f"{kept.account_id} signed out")


def _shown(code: device.Code) -> None:
    """On standard error: standard output is for what was asked for."""
    out = console(error=True)
    out.print(Text.assemble("Open ", (printable(code.verification_uri), "bold"), " in a browser"))
    out.print(Text.assemble("and enter ", (printable(code.user_code), "bold")))
    if code.verification_uri_complete:
        out.print(Text.assemble("or open ", printable(code.verification_uri_complete)))
