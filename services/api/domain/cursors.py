"""Pages: where the next one begins, as opaque text."""

import base64
from typing import Final

import msgspec

from services.api.domain.errors import Invalid

LAST: Final = 10_413_791_999_999_999
"""Microseconds until the end of the year 2299, the last that ClickHouse has a word for; offsets do not come so far."""
_NOT_OURS: Final = "not a cursor that this API gave out"

Position = tuple[int | str, ...]
"""Sort key of the last item of a page."""


def cursor_of(position: Position) -> str:
    """`position` as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_at(cursor: str, *kinds: type[int | str]) -> Position:
    """The position that `cursor_of` wrote, its parts of these `kinds`. Raises Invalid for anything else."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = tuple(msgspec.json.decode(raw, type=list[int | str]))
    except (ValueError, RecursionError) as error:
        raise Invalid(_NOT_OURS, "cursor") from error
    if [type(part) for part in position] != list(kinds):
        raise Invalid("a cursor of another list", "cursor")
    # Of what sorts only moments and offsets are numbers; no other text stands for the same position.
    if not all(isinstance(part, str) or 0 <= part <= LAST for part in position) or cursor != cursor_of(
        position
    ):
        raise Invalid(_NOT_OURS, "cursor")
    return position
