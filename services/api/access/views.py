"""Lists of the console that people saved under a name."""

import asyncio
from collections.abc import Mapping
from typing import Final, cast

from libs.bus.tables import TableSet
from libs.events.access import ViewSaved
from libs.events.ids import derive_id, new_id
from libs.events.record import Record
from libs.events.topics import CONSOLE_VIEWS
from libs.runtime.clock import now_us
from services.api.domain.errors import Invalid, NotFound, TooMany
from services.api.domain.index import References
from services.api.writer import Writer

MOST: Final = 50
"""Views of one account."""
LONGEST_NAME: Final = 100
LONGEST_QUERY: Final = 2_000


class SavedViews:
    """Each account's own. `tables` holds CONSOLE_VIEWS; `read_back_s`: how long a change waits until they show it."""

    def __init__(self, tables: TableSet, writer: Writer, read_back_s: float) -> None:
        self._views = cast(Mapping[str, ViewSaved], tables[CONSOLE_VIEWS])
        self._writer = writer
        self._read_back_s = read_back_s
        self._by_account = References()
        self._news = asyncio.Event()
        tables.on_change(CONSOLE_VIEWS, self._note)

    def of(self, account_id: str, page: str) -> list[ViewSaved]:
        """The views of a page, by name."""
        found = (self._views[each] for each in self._ids(account_id))
        return sorted((each for each in found if each.page == page), key=lambda each: each.name.casefold())

    async def save(self, account_id: str, page: str, name: str, query: str) -> None:
        """Save a view, in the place of one that has the name.

        Raises Invalid for a name that is none, TooMany if the account has MOST, BusUnavailableError.
        """
        name = " ".join(name.split())
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise Invalid(f"a name has 1 to {LONGEST_NAME} characters that are seen as they are", "/name")
        if len(query) > LONGEST_QUERY:
            raise Invalid(f"the list has more in its address than {LONGEST_QUERY} characters", "/query")
        view_id = derive_id(f"view:{account_id}:{page}", name.casefold())
        if view_id not in self._views and len(self._ids(account_id)) >= MOST:
            raise TooMany(f"you have {MOST} views: remove one first")
        event_id, now = new_id(), now_us()
        view = ViewSaved(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            view_id=view_id,
            account_id=account_id,
            page=page,
            name=name,
            query=query,
        )
        await self._write(view_id, view)

    async def remove(self, account_id: str, view_id: str) -> None:
        """Remove a view. Raises NotFound if the account has none such, BusUnavailableError."""
        found = self._views.get(view_id)
        if found is None or found.account_id != account_id:
            raise NotFound(f"you have no view {view_id!r}")
        await self._write(view_id, None)

    async def _write(self, view_id: str, view: ViewSaved | None) -> None:
        await self._writer.write(CONSOLE_VIEWS, view_id, view)
        wanted = None if view is None else view.event_id
        try:
            async with asyncio.timeout(self._read_back_s):
                while (None if (now := self._views.get(view_id)) is None else now.event_id) != wanted:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _ids(self, account_id: str) -> list[str]:
        return self._by_account.to(account_id).after(None, 2 * MOST)

    def _note(self, key: str, record: Record | None) -> None:
        self._by_account.put(key, (record.account_id,) if isinstance(record, ViewSaved) else ())
        self._news.set()
