"""Saved views of the console, over a table in memory."""

from __future__ import annotations

from typing import cast

import pytest

from libs.bus.tables import OnChange, TableSet
from libs.events.record import Record
from libs.events.topics import CONSOLE_VIEWS
from services.api.access.views import LONGEST_QUERY, MOST, SavedViews
from services.api.domain.errors import Invalid, NotFound, TooMany
from services.api.writer import Writer

PAGE = "/stations"


class Table:
    """Shows at once what is written; `late`: it does not."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.late = False
        self._callbacks: list[OnChange] = []

    def __getitem__(self, topic: str) -> dict[str, Record]:
        assert topic == CONSOLE_VIEWS
        return self.records

    def on_change(self, topic: str, callback: OnChange) -> None:
        assert topic == CONSOLE_VIEWS
        self._callbacks.append(callback)

    async def write(self, topic: str, key: str, record: Record | None) -> None:
        assert topic == CONSOLE_VIEWS
        if self.late:
            return
        if record is None:
            self.records.pop(key, None)
        else:
            self.records[key] = record
        for callback in self._callbacks:
            callback(key, record)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def views(table: Table) -> SavedViews:
    return SavedViews(cast(TableSet, table), cast(Writer, table), 0.05)


async def test_each_account_has_its_own_by_name(views: SavedViews) -> None:
    await views.save("anna", PAGE, "  Late \n ones ", "q=b")
    await views.save("anna", PAGE, "early ones", "q=a")
    await views.save("ben", PAGE, "Ben's", "")
    assert [(each.name, each.query) for each in views.of("anna", PAGE)] == [
        ("early ones", "q=a"),
        ("Late ones", "q=b"),
    ]
    assert views.of("anna", "/sessions") == []
    (bens,) = views.of("ben", PAGE)
    with pytest.raises(NotFound):
        await views.remove("anna", bens.view_id)
    await views.remove("ben", bens.view_id)
    assert views.of("ben", PAGE) == []


async def test_a_name_that_is_there_is_replaced_whatever_its_case(views: SavedViews) -> None:
    await views.save("anna", PAGE, "mine", "q=a")
    await views.save("anna", PAGE, "Mine", "q=b")
    assert [(each.name, each.query) for each in views.of("anna", PAGE)] == [("Mine", "q=b")]


async def test_no_account_has_more_than_its_bound(views: SavedViews) -> None:
    for number in range(MOST):
        await views.save("anna", PAGE, f"view {number}", "")
    with pytest.raises(TooMany):
        await views.save("anna", PAGE, "one more", "")
    await views.save("anna", PAGE, "view 3", "q=changed")
    await views.save("ben", PAGE, "one", "")


@pytest.mark.parametrize(
    ("name", "query"),
    [("", ""), (" ", ""), ("x" * 101, ""), ("a\u202eb", ""), ("a", "x" * (LONGEST_QUERY + 1))],
)
async def test_what_is_no_name_or_too_long_is_refused(views: SavedViews, name: str, query: str) -> None:
    with pytest.raises(Invalid):
        await views.save("anna", PAGE, name, query)


async def test_a_table_that_is_late_is_not_waited_for_longer_than_allowed(
    views: SavedViews, table: Table
) -> None:
    table.late = True
    await views.save("anna", PAGE, "mine", "")
    assert views.of("anna", PAGE) == []
