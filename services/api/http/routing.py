"""What handlers have in common."""

import asyncio
from collections.abc import Callable, Container
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Response
from pydantic import BaseModel
from pydantic_core import to_json

from libs.events.registry import Assignment
from services.api.conversation import Said
from services.api.domain.errors import Invalid
from services.api.domain.registry import Stamp, assign, ordered
from services.api.equipment import CommandSaid
from services.api.http.fields import micros
from services.api.http.problems import Problem
from services.api.http.strict_json import StrictRoute
from services.api.models import NewAssignment

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "The key is missing or wrong.",
        404: "There is no such thing.",
        409: "It does not fit what is there.",
        422: "The request is wrong; `errors` says where.",
        429: "There is no room for it now.",
        503: "Not now; repeat later.",
    }.items()
}


ROOT: Final = "/api/v1"


def routes(tag: str) -> APIRouter:
    """The routes of one kind of resource."""
    return APIRouter(tags=[tag], responses=ERRORS, route_class=StrictRoute)


def location(*segments: str) -> str:
    """Where a thing is: a path for the header of that name."""
    return "/".join((ROOT, *(quote(segment, safe="") for segment in segments)))


def assigned(
    old: tuple[Assignment, ...],
    body: BaseModel,
    names: tuple[str, str, str],
    stamp: Stamp,
    among: tuple[str, Container[str]],
) -> tuple[Assignment, ...]:
    """`old` as the body's fields `names` (id, valid from, whole list) want it.

    `among`: the kind of thing that is assigned, and the ids that there are. Raises Invalid for an id that is new
    here and not among them.
    """
    one, moment, whole = names
    kind, known = among
    target: str | None = getattr(body, one)
    rewritten: list[NewAssignment] | None = getattr(body, whole)
    if rewritten is not None:
        new = ordered(tuple(Assignment(id=a.id, valid_from=micros(a.valid_from)) for a in rewritten))
    elif target is not None:
        start: datetime | None = getattr(body, moment)
        new = assign(old, target, None if start is None else micros(start), stamp)
    else:
        return old
    for number, each in enumerate(new):
        if each not in old and each.id not in known:
            path = f"/{one}" if rewritten is None else f"/{whole}/{number}/id"
            raise Invalid(f"there is no {kind} {each.id!r}", path)
    return new


async def in_thread(make: Callable[[], Any]) -> Response:
    """What `make` returns, models or lists of them, as a JSON body: of a large one others would have to wait."""
    return Response(
        await asyncio.to_thread(lambda: to_json(make(), by_alias=True)), media_type="application/json"
    )


def said_of(said: Said) -> CommandSaid:
    """A command as the API shows it."""
    return CommandSaid(
        command_id=said.command_id,
        action=said.action,
        status="PENDING" if said.fate is None else said.fate.value,
        reason=said.reason,
        degraded=said.degraded,
    )
