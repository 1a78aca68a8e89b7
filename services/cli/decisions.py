"""`voltbus sessions decide` and `voltbus sessions decisions`."""

import time
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from libs.tariffs.amounts import kwh
from services.cli.client import Client, CliError, as_json, segment
from services.cli.context import api, given
from services.cli.output import AsJson, console, moment, printable, table, whole

_LOOK_S: Final = 0.3
_WORDS: Final = {
    "unknown_session": "forgotten by now: bring it back with `voltbus sessions recall`, then decide again",
    "unknown_decision": "this version of the platform does not know such a decision",
    "other_version": "the charge record has changed: look at it again",
    "still_running": "it is under way again",
    "more_than_delivered": "no more can be billed than was delivered",
}
"""Why a decision was refused, for people."""

Id = Annotated[str, typer.Argument(metavar="SESSION", help="Session id.")]


class Verdict(StrEnum):
    """What is billed: all delivered energy, a part of it, or nothing at all."""

    ACCEPT = "accept"
    ADJUST = "adjust"
    WRITE_OFF = "write_off"


def decide(
    context: typer.Context,
    *,
    session: Id,
    decision: Annotated[Verdict, typer.Argument(help="What is billed.")],
    reason: Annotated[str, typer.Option(help="Why; it stays with the decision.")],
    energy: Annotated[
        str | None, typer.Option("--kwh", help="adjust: so much is billed, the rest is written off.")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            min=1, help="Version of the charge record that you looked at. Default: the newest there is."
        ),
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for what becomes of it.")] = 10,
    json: AsJson = False,
) -> None:
    """Decide about a session in review. Status 1 if it is refused, or not applied in time."""
    client = api(context)
    if (energy is not None) != (decision is Verdict.ADJUST):
        raise typer.BadParameter("adjust needs it, and nothing else has it", param_hint="--kwh")
    body = given(
        decision=decision.value,
        billed_wh=None if energy is None else whole(energy, 3, "--kwh"),
        version=_newest(client, session) if version is None else version,
        reason=reason,
    )
    made = client.request("POST", f"/sessions/{segment(session)}/decisions", body)
    found = _concluded(client, made, wait)
    if json:
        typer.echo(as_json(found))
    else:
        console().print(printable(_told(found)), markup=False)
    if found["status"] != "applied":
        raise typer.Exit(1)


def decisions(context: typer.Context, session: Id, json: AsJson = False) -> None:
    """Show what was decided about a session, and what became of it."""
    found = api(context).get(f"/sessions/{segment(session)}/decisions")["items"]
    if json:
        typer.echo(as_json(found))
        return
    columns = [
        ("decided", lambda d: moment(d["decided_at"])),
        ("by", lambda d: d["decided_by"]),
        ("decision", lambda d: d["decision"]),
        ("kWh", lambda d: kwh(d["billed_wh"])),
        ("about version", lambda d: d["version"]),
        ("status", lambda d: d["status"]),
        ("detail", lambda d: d["detail"]),
        ("reason", lambda d: d["reason"]),
    ]
    table(found, columns, "no decisions")


def _newest(client: Client, session: str) -> int:
    found = client.items("/cdrs", {"session_id": session}, 1)
    if not found:
        # The API says whether there is no such session, or it still runs.
        client.get(f"/sessions/{segment(session)}")
        raise CliError(f"session {session} has no charge record yet")
    version: int = found[0]["version"]
    return version


def _concluded(client: Client, made: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """The decision once it is concluded, or as it is after `wait_s`."""
    deadline = time.monotonic() + wait_s
    path = f"/sessions/{segment(made['session_id'])}/decisions"
    while True:
        for each in client.get(path)["items"]:
            if each["decision_id"] == made["decision_id"] and each["status"] != "pending":
                found: dict[str, Any] = each
                return found
        left = deadline - time.monotonic()
        if left <= 0:
            return made
        time.sleep(min(_LOOK_S, left))


def _told(found: dict[str, Any]) -> str:
    if found["status"] == "applied":
        return f"{found['decision']}: applied, the charge record is at version {found['resulting_version']}"
    if found["status"] == "refused":
        why = _WORDS.get(found["detail"])
        return f"{found['decision']}: refused, {found['detail']}{f' ({why})' if why else ''}"
    return f"{found['decision']}: written, not applied yet; see `voltbus sessions decisions {found['session_id']}`"
