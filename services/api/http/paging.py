"""Lists a page at a time. Of what is in memory no request sorts it, and a long search lets others go on."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

from pydantic import Field

from services.api.domain.cursors import cursor_of, position_at
from services.api.domain.index import SortedKeys
from services.api.http.fields import Input, Output

T = TypeVar("T")

_SLICE: Final = 250
"""Keys that are looked at before others have their turn."""


class Page(Output, Generic[T]):
    """One page of a list. `next_cursor`: ask again with `cursor` set to it; absent on the last page."""

    items: list[T]
    next_cursor: str | None = None


class ListQuery(Input):
    """What every list can be asked for."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(max_length=2000)] = None


def matches(q: str | None, *texts: str) -> bool:
    """Whether the folded `q` is part of one of the texts."""
    return q is None or any(q in text.casefold() for text in texts)


async def page_of(
    keys: Sequence[SortedKeys], found: Callable[[str], T | None], limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """The next `limit` of what is `found` for keys of any of the sets, by key, and the cursor of the page after.

    `found`: None for what is not wanted, or not there any more. Raises Invalid for a cursor of another list.
    """
    after = None if cursor is None else str(position_at(cursor, str)[0])
    page: list[T] = []
    last = ""
    while chunk := _next(keys, after):
        for key in chunk:
            value = found(key)
            if value is None:
                continue
            if len(page) == limit:
                return page, cursor_of((last,))
            page.append(value)
            last = key
        after = chunk[-1]
        await asyncio.sleep(0)
    return page, None


def _next(keys: Sequence[SortedKeys], after: str | None) -> list[str]:
    chunks = [each.after(after, _SLICE) for each in keys]
    if len(chunks) == 1:
        return chunks[0]
    return sorted(set().union(*chunks))[:_SLICE]
