"""Assignments: what holds of what from which moment on."""

from collections.abc import Container
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from libs.events.registry import Assignment as Assigned
from libs.runtime.clock import micros
from services.api.domain.errors import Invalid
from services.api.domain.renewal import Stamp, assign, ordered
from services.api.http.fields import Input, Label, Moment, Output, Time

_MOST_ASSIGNMENTS = 1000


class Assignment(Output):
    """What is assigned from a moment on, until the next one."""

    id: str
    valid_from: Time


class NewAssignment(Input):
    """One entry of a list that replaces the assignments there are."""

    id: Label
    valid_from: Moment


Assignments = Annotated[list[NewAssignment], Field(max_length=_MOST_ASSIGNMENTS)]


def assigned(
    old: tuple[Assigned, ...],
    body: BaseModel,
    names: tuple[str, str, str],
    stamp: Stamp,
    among: tuple[str, Container[str]],
) -> tuple[Assigned, ...]:
    """`old` as the body's fields `names` (id, valid from, whole list) want it.

    `among`: the kind of thing that is assigned, and the ids that there are. Raises Invalid for an id that is new
    here and not among them.
    """
    one, moment, whole = names
    kind, known = among
    target: str | None = getattr(body, one)
    rewritten: list[NewAssignment] | None = getattr(body, whole)
    if rewritten is not None:
        new = ordered(tuple(Assigned(id=a.id, valid_from=micros(a.valid_from)) for a in rewritten))
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
