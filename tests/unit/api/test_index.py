"""Keys in order: what a page costs does not grow with the table."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.cursors import cursor_of
from services.api.domain.errors import Invalid
from services.api.domain.index import References, SortedKeys
from services.api.http import paging
from services.api.http.paging import page_of

MANY = 100_000


class Key(str):
    """A key that counts how often keys are compared."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: str) -> bool:
        Key.compared += 1
        return str.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.fixture(autouse=True)
def plain_cursors(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is not made of subclasses of text."""
    monkeypatch.setattr(paging, "cursor_of", lambda position: cursor_of(tuple(map(str, position))))


@pytest.fixture(scope="module")
def many() -> SortedKeys:
    keys = SortedKeys()
    names = [Key(f"cp-{number:06}") for number in range(MANY)]
    random.Random(1).shuffle(names)
    for name in names:
        keys.add(name)
    return keys


def compared(work: Iterator[object]) -> int:
    Key.compared = 0
    list(work)
    return Key.compared


def test_a_page_of_100_000_keys_compares_as_many_as_it_shows(many: SortedKeys) -> None:
    def page(after: str) -> Iterator[object]:
        items, cursor = asyncio.run(page_of([many], str, 100, cursor_of((after,))))
        assert (len(items), cursor is None) == (100, False)
        yield from items

    assert compared(page("cp-050000")) < 100
    assert compared(page("cp-000007")) < 100


def test_a_page_of_several_tables_compares_no_more_than_a_few_slices(many: SortedKeys) -> None:
    def page() -> Iterator[object]:
        items, _ = asyncio.run(page_of([many, many, many], str, 100, cursor_of(("cp-050000",))))
        assert items == [f"cp-{number:06}" for number in range(50_001, 50_101)]
        yield items

    assert compared(page()) < 10_000


def test_a_change_of_one_in_100_000_compares_few(many: SortedKeys) -> None:
    def change() -> Iterator[object]:
        many.add(Key("cp-050000x"))
        many.add(Key("cp-050000x"))
        many.discard("cp-050000x")
        yield None

    assert compared(change()) < 200
    assert len(many) == MANY


def test_a_long_search_lets_others_have_their_turn(many: SortedKeys) -> None:
    async def search() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        page = await page_of([many], lambda key: key if key == "cp-099999" else None, 10, None)
        task.cancel()
        assert page == (["cp-099999"], None)
        return turns

    assert asyncio.run(search()) >= MANY // 1_000


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=2))), st.text(max_size=2), st.integers(1, 5))
def test_keys_are_as_a_sorted_set_has_them(changes: list[tuple[bool, str]], after: str, most: int) -> None:
    keys, known = SortedKeys(), set[str]()
    for put, key in changes:
        if put:
            keys.add(key)
            known.add(key)
        else:
            keys.discard(key)
            known.discard(key)
    assert list(keys) == sorted(known)
    assert len(keys) == len(known)
    assert keys.after(after, most) == [key for key in sorted(known) if key > after][:most]
    assert keys.after(None, most) == sorted(known)[:most]
    assert all((key in keys) == (key in known) for key in ["", "a", after])


def test_many_keys_are_in_order_however_they_came_and_went() -> None:
    chance = random.Random(2)
    keys, known = SortedKeys(), set[str]()
    for _ in range(20_000):
        key = f"{chance.randrange(6_000)}"
        if chance.random() < 0.6:
            keys.add(key)
            known.add(key)
        else:
            keys.discard(key)
            known.discard(key)
    assert list(keys) == sorted(known)
    assert keys.after("3", 2_500) == [key for key in sorted(known) if key > "3"][:2_500]


@given(st.dictionaries(st.text(), st.booleans()), st.integers(1, 5))
def test_pages_hold_every_wanted_entry_once(table: dict[str, bool], limit: int) -> None:
    halves = SortedKeys(), SortedKeys()
    for number, key in enumerate(table):
        halves[number % 2].add(key)
        halves[0].add(key)
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = asyncio.run(page_of(halves, lambda key: key if table[key] else None, limit, cursor))
        seen += page
        assert len(page) <= limit
        if cursor is None:
            break
        assert len(page) == limit
    assert seen == sorted(key for key, wanted in table.items() if wanted)


def test_what_goes_while_a_page_is_searched_is_left_out() -> None:
    keys = SortedKeys()
    for key in "abc":
        keys.add(key)
    assert asyncio.run(page_of([keys], {"a": 1, "c": 3}.get, 10, None)) == ([1, 3], None)
    with pytest.raises(Invalid):
        asyncio.run(page_of([keys], str, 10, cursor_of((1,))))


def test_references_follow_their_keys() -> None:
    references = References()
    references.put("s-1", {"north", "south"})
    references.put("s-2", ["north"])
    assert list(references.to("north")) == ["s-1", "s-2"]
    references.put("s-1", {"south"})
    references.put("s-2", ())
    assert not references.to("north")
    assert list(references.to("south")) == ["s-1"]
