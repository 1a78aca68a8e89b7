"""What the registry's handlers have in common."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from libs.events.record import Record
from libs.events.registry import Assignment
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.registry import Stamp, assign, ordered
from services.api.fields import micros
from services.api.models import NewAssignment
from services.api.problems import Problem

R = TypeVar("R", bound=Record)

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "The key is missing or wrong.",
        404: "There is no such thing.",
        409: "It does not fit what is there.",
        422: "The request is wrong; `errors` says where.",
        503: "Not now; repeat later.",
    }.items()
}


ROOT: Final = "/api/v1"


def location(*segments: str) -> str:
    """Where a thing is: a path for the header of that name."""
    return "/".join((ROOT, *(quote(segment, safe="") for segment in segments)))


def existing(table: Mapping[str, R], key: str, kind: str) -> R:
    """The entry. Raises NotFound if there is none."""
    entry = table.get(key)
    if entry is None:
        raise NotFound(f"there is no {kind} {key!r}")
    return entry


def must_be_new(table: Mapping[str, R], key: str, kind: str) -> None:
    """Raises Conflict if there is such an entry."""
    if key in table:
        raise Conflict(f"there is a {kind} {key!r} already")


def must_exist(table: Mapping[str, R], keys: Iterable[tuple[str, str]], kind: str) -> None:
    """Raises Invalid for the first (path, id) that does not exist."""
    for path, key in keys:
        if key not in table:
            raise Invalid(f"there is no {kind} {key!r}", path)


def assignments(
    old: tuple[Assignment, ...], body: BaseModel, names: tuple[str, str, str], stamp: Stamp
) -> tuple[Assignment, ...]:
    """`old` as the body's fields `names` (id, valid from, whole list) want it."""
    target: str | None = getattr(body, names[0])
    rewritten: list[NewAssignment] | None = getattr(body, names[2])
    if rewritten is not None:
        return ordered(tuple(Assignment(id=a.id, valid_from=micros(a.valid_from)) for a in rewritten))
    if target is None:
        return old
    moment = getattr(body, names[1])
    return assign(old, target, None if moment is None else micros(moment), stamp)


def matches(q: str | None, *texts: str) -> bool:
    """Whether the folded `q` is part of one of the texts."""
    return q is None or any(q in text.casefold() for text in texts)
