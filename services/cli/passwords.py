"""`voltbus stations password`. Passwords are asked for, never given on the command line, which others can see."""

from enum import StrEnum
from typing import Annotated

import typer

from services.cli.client import CliError, Json, as_json, segment
from services.cli.context import api, given
from services.cli.output import AsJson, done, moment, sheet

app = typer.Typer(help="Basic-auth passwords of stations.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Station id; case does not count.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make one, instead of asking for it.")]
AsHex = Annotated[bool, typer.Option("--hex", help="It is written as hex digits, for one that is not text.")]


class Keep(StrEnum):
    """Which of two passwords stays."""

    OLD = "old"
    NEW = "new"


@app.command("show")
def show_password(context: typer.Context, station: Id, json: AsJson = False) -> None:
    """Whether a password is set; nobody can see it."""
    found = api(context).get(_path(station))
    if json:
        typer.echo(as_json(found))
        return
    sheet(
        [
            ("station", found["station_id"]),
            ("accepted", f"{found['accepted']}" + (", not settled" if found["accepted"] > 1 else "")),
            ("changed", moment(found["updated_at"])),
        ]
    )


@app.command("set")
def set_password(
    context: typer.Context,
    station: Id,
    generate: Generate = False,
    as_hex: AsHex = False,
    json: AsJson = False,
) -> None:
    """Accept this password and no other. The charger is not told; its socket is closed if it used another."""
    saved = api(context).request("PUT", _path(station), _asked(generate, as_hex))
    made = f": {saved['password']} (it is not shown again)" if generate else ""
    done(saved, json, f"password of {saved['station_id']} set{made}")


@app.command("rotate")
def rotate_password(
    context: typer.Context,
    *,
    station: Id,
    generate: Annotated[bool, typer.Option("--generate/--ask", help="Make one, or ask for it.")] = True,
    as_hex: AsHex = False,
    wait: Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for the charger.")] = 30,
    json: AsJson = False,
) -> None:
    """Give the charger a new password; once it has accepted it, the old one is refused."""
    body = {**_asked(generate, as_hex), "wait_s": wait}
    found = api(context).request("POST", f"{_path(station)}/rotate", body, patience_s=wait)
    both = ", both passwords are accepted" if found["accepted"] > 1 else ""
    done(found, json, f"password of {found['station_id']}: {found['status']}{both}")
    if found["status"] in {"REJECTED", "FAILED", "EXPIRED"}:
        raise CliError(f"the charger did not take it: {found['reason']}")


@app.command("settle")
def settle_password(
    context: typer.Context,
    station: Id,
    keep: Annotated[Keep, typer.Option(help="Which one the charger has.")],
    json: AsJson = False,
) -> None:
    """Decide a change that nobody knows the end of."""
    saved = api(context).request("POST", f"{_path(station)}/settle", {"keep": keep.value})
    done(saved, json, f"password of {saved['station_id']}: the {keep.value} one stays")


@app.command("remove")
def remove_password(context: typer.Context, station: Id, json: AsJson = False) -> None:
    """Accept no password any more."""
    api(context).request("DELETE", _path(station))
    done({"removed": station.casefold()}, json, f"password of {station.casefold()} removed")


def _path(station: str) -> str:
    return f"/stations/{segment(station)}/password"


def _asked(generate: bool, as_hex: bool) -> Json:
    if generate:
        return {}
    typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return given(**{"password_hex" if as_hex else "password": typed})
