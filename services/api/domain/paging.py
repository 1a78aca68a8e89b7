"""Pages: where the next one begins, as opaque text."""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from services.api.domain.errors import Invalid

T = TypeVar("T")

Position = tuple[int | str, ...]
"""Sort key of the last item of a page."""


def cursor_of(position: Position) -> str:
    """`position` as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_at(cursor: str, *kinds: type[int | str]) -> Position:
    """The position that `cursor_of` wrote, its parts of these `kinds`. Raises Invalid for anything else."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = msgspec.json.decode(raw, type=list[int | str])
    except ValueError as error:
        raise Invalid("not a cursor that this API gave out", "cursor") from error
    if [type(part) for part in position] != list(kinds):
        raise Invalid("a cursor of another list", "cursor")
    return tuple(position)


def page_of(
    table: Mapping[str, T], wanted: Callable[[T], bool], limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """The next `limit` values of `table` by key that are wanted, and the cursor of the page after."""
    after = None if cursor is None else position_at(cursor, str)[0]
    keys: Iterable[str] = sorted(table)
    found: list[T] = []
    last = ""
    for key in keys:
        if (after is not None and key <= str(after)) or not wanted(table[key]):
            continue
        if len(found) == limit:
            return found, cursor_of((last,))
        found.append(table[key])
        last = key
    return found, None
