"""Moments as people type them, and as the platform counts them."""

import re
from datetime import UTC, datetime
from typing import Final

import typer

from libs.runtime.clock import moment_of

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def moment_given(text: str, option: str) -> datetime:
    """What was typed for `option`; UTC where no zone was. Raises BadParameter for what is no moment."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no moment, such as 2026-05-01T00:00:00Z", param_hint=option
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def written_out(text: str) -> str:
    """What was typed, as the API reads it: a day is its first moment in UTC."""
    return f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text


def iso(at: int) -> str:
    """Microseconds since 1970 as RFC 3339, with a fraction where there is one."""
    return moment_of(at).isoformat()
