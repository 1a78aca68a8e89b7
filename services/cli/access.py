"""`voltbus accounts` and `voltbus keys`: who may do what."""

from typing import Annotated

import typer

from libs.access.roles import Role
from services.cli.client import Json, segment
from services.cli.context import api, given
from services.cli.moments import written_out
from services.cli.output import AsJson, Limit, Search, done, listing, moment

accounts = typer.Typer(help="Accounts of people.", no_args_is_help=True)
keys = typer.Typer(help="Keys of programs and people.", no_args_is_help=True)


Id = Annotated[str, typer.Argument(help="Name to sign in with; case does not count.")]
Roles = Annotated[list[Role] | None, typer.Option("--role", help="A role; may be given several times.")]

Where = Annotated[str, typer.Option(help="The organisation in which the roles hold; *: in all.")]


@accounts.command("list")
def list_accounts(
    context: typer.Context, *, search: Search = None, limit: Limit = 100, json: AsJson = False
) -> None:
    """List accounts."""
    columns = [
        ("account", lambda a: a["account_id"]),
        ("name", lambda a: a["display_name"]),
        ("roles", _roles),
        ("password", lambda a: "set" if a["has_password"] else ""),
        ("disabled", lambda a: "yes" if a["disabled"] else ""),
        ("sign-ins", lambda a: a["sign_ins"]),
        ("changed", lambda a: moment(a["updated_at"])),
        ("by", lambda a: a["changed_by"]),
    ]
    listing(api(context), "/accounts", {"q": search}, limit, columns, json=json)


@accounts.command("add")
def add_account(
    context: typer.Context,
    *,
    account: Id,
    role: Roles = None,
    organisation: Where = "*",
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    password: Annotated[
        bool, typer.Option("--password/--no-password", help="Ask for a password, or give one later.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Make an account. The password is asked for."""
    body: Json = {"account_id": account, "grants": _grants(role, organisation), **given(display_name=name)}
    if password:
        body["password"] = _asked()
    saved = api(context).request("POST", "/accounts", body)
    done(saved, json, f"account {saved['account_id']} added")


@accounts.command("password")
def set_password(context: typer.Context, account: Id, json: AsJson = False) -> None:
    """Give an account a password, which is asked for; its sign-ins end."""
    api(context).request("POST", f"{_path(account)}/password", {"password": _asked()})
    done({"account_id": account.casefold()}, json, f"password of {account.casefold()} set")


@accounts.command("disable")
def disable(
    context: typer.Context,
    account: Id,
    undo: Annotated[bool, typer.Option("--undo", help="Let the account sign in again.")] = False,
    json: AsJson = False,
) -> None:
    """Let an account sign in no more; its sign-ins end."""
    saved = api(context).request("PATCH", _path(account), {"disabled": not undo})
    done(saved, json, f"account {saved['account_id']} {'enabled' if undo else 'disabled'}")


@accounts.command("link")
def link(
    context: typer.Context,
    account: Id,
    subject: Annotated[
        str, typer.Argument(help="What the OpenID provider calls the person (sub); '' for nobody.")
    ],
    issuer: Annotated[
        str | None, typer.Option(help="The provider; default: the one that the command line signs in at.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say who at the OpenID provider signs in with an account."""
    if issuer is None:
        provider = api(context).get("/sign-in")["provider"] if subject else None
        if subject and provider is None:
            raise typer.BadParameter("the API names no provider", param_hint="--issuer")
        issuer = provider["issuer"] if provider else ""
    saved = api(context).request("PATCH", _path(account), {"issuer": issuer, "subject": subject})
    done(saved, json, f"account {saved['account_id']} linked" if subject else f"account {account} unlinked")


@accounts.command("sign-out")
def sign_out(context: typer.Context, account: Id, json: AsJson = False) -> None:
    """End every sign-in of an account."""
    api(context).request("POST", f"{_path(account)}/sign-out")
    done({"account_id": account.casefold()}, json, f"{account.casefold()} signed out everywhere")


@keys.command("list")
def list_keys(
    context: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those revoked or past their end.")] = False,
    search: Search = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List keys, without their secrets."""
    columns = [
        ("key", lambda k: k["key_id"]),
        ("name", lambda k: k["name"]),
        ("roles", _roles),
        ("until", lambda k: moment(k["expires_at"])),
        ("revoked", lambda k: "yes" if k["revoked"] else ""),
        ("made", lambda k: moment(k["created_at"])),
        ("by", lambda k: k["changed_by"]),
        ("note", lambda k: k["note"]),
    ]
    query = {"q": search, "counts": None if everything else "true"}
    listing(api(context), "/keys", query, limit, columns, json=json)


@keys.command("add")
def add_key(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Whose key it is: what is asked for with it carries this.")],
    role: Annotated[list[Role], typer.Option("--role", help="A role; may be given several times.")],
    organisation: Where = "*",
    until: Annotated[
        str | None, typer.Option(help="Until this moment, such as 2027-01-01T00:00:00Z.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    json: AsJson = False,
) -> None:
    """Make a key. It is shown once."""
    settings = given(expires_at=until and written_out(until), note=note)
    made = api(context).request(
        "POST", "/keys", {"name": name, "grants": _grants(role, organisation), **settings}
    )
    done(made, json, f"key of {made['name']}: {made['key']} (it is not shown again)")


@keys.command("revoke")
def revoke_key(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Its id, the middle part of the key.")],
    json: AsJson = False,
) -> None:
    """Refuse a key from now on."""
    revoked = api(context).request("DELETE", f"/keys/{segment(key)}")
    done(revoked, json, f"key {revoked['key_id']} of {revoked['name']} revoked")


def _path(account: str) -> str:
    return f"/accounts/{segment(account)}"


def _roles(entry: Json) -> str:
    return ", ".join(
        grant["role"] if grant["organisation_id"] == "*" else f"{grant['role']} in {grant['organisation_id']}"
        for grant in entry["grants"]
    )


def _grants(roles: list[Role] | None, organisation: str) -> list[Json]:
    return [{"role": role.value, "organisation_id": organisation} for role in roles or ()]


def _asked() -> str:
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked
