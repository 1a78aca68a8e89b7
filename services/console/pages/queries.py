"""What a page is asked for in its address. What is wrong there is said on the page, and the rest counts."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams

from services.console.history import PERIODS

M = TypeVar("M", bound=BaseModel)

DEFAULT_PERIOD: Final = "24h"
PAGE_SIZE: Final = 50
_LONGEST: Final = 200
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
    """The stretch of time that a list shows: `period` before `until`, or before now."""

    def __init__(self, params: QueryParams, now: datetime) -> None:
        self.name = params.get("period", DEFAULT_PERIOD)
        if self.name not in PERIODS:
            self.name = DEFAULT_PERIOD
        self.written = params.get("until", "")[:_LONGEST]
        self.wrong = ""
        self.until = now + timedelta(minutes=5)
        if self.written:
            try:
                until = datetime.fromisoformat(self.written)
            except ValueError:
                self.wrong = self.written
            else:
                if until.year in _YEARS:
                    self.until = until if until.tzinfo else until.replace(tzinfo=UTC)
                else:
                    self.wrong = self.written
        self.since = self.until - PERIODS[self.name]
