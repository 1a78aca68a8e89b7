"""Pages: where the next one begins, as opaque text."""

import base64

import msgspec

from services.api.domain.errors import Invalid

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
