"""Meters that lie: a virtual meter whose register is shown otherwise than it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

from tests.unit.sessions.meter import Visit

MUCH = 100_000
"""More than any connector gives within one stretch: nobody can tell a small lie from energy."""


@dataclass(frozen=True)
class Lie(Visit):
    """A visit whose register is `shown` otherwise than it is; `what` says how."""

    what: str = ""
    shown: tuple[int, ...] = ()

    def readings(self) -> list[tuple[int, int]]:
        true = super().readings()
        return [(at, wh) for (at, _), wh in zip(true, self.shown, strict=True)]


def lie(random: Random, visit: Visit) -> Visit:
    """The visit with one lie, or as it is if there is nothing to lie about."""
    true = [wh for _, wh in visit.readings()]
    place = random.randrange(1, len(true))
    ways = ["jump", "rollback", "reset", "start of zero"]
    if place < len(true) - 1:
        ways += ["peak", "small peak", "dip", "small dip", "zero"]
    what = random.choice(ways)
    before, after, here = true[:place], true[place:], true[place]
    match what:
        case "jump":
            much = random.randint(MUCH, 100 * MUCH)
            after = [wh + much for wh in after]
        case "rollback":
            back = random.randint(0, here)
            after = [wh - back for wh in after]
        case "reset":
            since = random.randint(0, here - before[-1])
            after = [wh - here + since for wh in after]
        case "start of zero":
            if true[0] < MUCH:
                return visit
            before[0] = 0
        case "peak":
            after[0] = here + random.randint(MUCH, 100 * MUCH)
        case "small peak":
            after[0] = here + random.randint(1, 5_000)
        case "dip":
            after[0] = random.randint(0, here)
        case "small dip":
            after[0] = max(0, here - random.randint(1, 5_000))
        case _:
            after[0] = 0
    known = {each.name: getattr(visit, each.name) for each in fields(Visit)} | {"unread": frozenset()}
    return Lie(**known, what=what, shown=(*before, *after))
