"""What a page is asked for in its address. What is wrong there is said on the page, and the rest counts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams

from services.api.rows import Row
from services.console.history import PERIODS

M = TypeVar("M", bound=BaseModel)

DEFAULT_PERIOD: Final = "24h"
PAGE_SIZE: Final = 50
LONGEST: Final = 200
"""Characters of a moment that are looked at."""
_YEARS: Final = range(1971, 2200)


def asked(model: type[M], params: QueryParams, **fixed: Any) -> tuple[M, dict[str, str]]:
    """`model` made of the parameters that it knows, and for each that is wrong why. Empty ones are not asked for."""
    given = {
        name: value
        for name, value in params.items()
        if name in model.model_fields and value and name not in fixed
    }
    wrong: dict[str, str] = {}
    while True:
        try:
            return model.model_validate({**given, **fixed}), wrong
        except ValidationError as error:
            for each in error.errors():
                name = str(each["loc"][0]) if each["loc"] else ""
                if given.pop(name, None) is None:
                    raise
                wrong[name] = each["msg"].removeprefix("Value error, ")


class Period:
    """The stretch of time that a list shows: `period` before `until`, or before now. `names`: what can be chosen."""

    def __init__(
        self, params: QueryParams, now: datetime, lengths: Mapping[str, timedelta] = PERIODS
    ) -> None:
        self.names = tuple(lengths)
        self.name = params.get("period", DEFAULT_PERIOD)
        if self.name not in lengths:
            self.name = DEFAULT_PERIOD
        self.written = params.get("until", "")[:LONGEST]
        until = moment_in(params, "until")
        self.wrong = self.written if self.written and until is None else ""
        self.until = until or now + timedelta(minutes=5)
        self.since = self.until - lengths[self.name]


def moment_in(params: QueryParams, name: str, zone: tzinfo = UTC) -> datetime | None:
    """The moment that a parameter says, in `zone` if it says no offset; None without one, or for what is none."""
    try:
        found = datetime.fromisoformat(params.get(name, "")[:LONGEST])
        found = found if found.tzinfo else found.replace(tzinfo=zone)
        return found.astimezone(UTC) if found.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


def earlier(rows: Sequence[Row], most: int, column: str) -> datetime | None:
    """The end of the period whose first row is the first one that is not shown; None if all are."""
    if len(rows) <= most:
        return None
    at: datetime = rows[most][column]
    return at + timedelta(microseconds=1)
