"""How two JSON-like values differ."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.console.differences import Difference, differences

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("a/~", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def text(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def test_each_place_is_named_by_its_pointer() -> None:
    before = {"a/b": [1, {"c~": "x"}], "gone": None}
    after = {"a/b": [1, {"c~": "y"}, 2], "new": []}
    assert differences(before, after) == [
        Difference("/a~1b/1/c~0", '"x"', '"y"'),
        Difference("/a~1b/2", "", "2"),
        Difference("/gone", "null", ""),
        Difference("/new", "", "[]"),
    ]


def test_a_number_is_no_truth_and_no_text() -> None:
    assert len(differences([1, 1, 0], [True, "1", False])) == 3


def test_there_is_an_end() -> None:
    assert len(differences(list(range(1000)), [], most=7)) == 7


@given(VALUES)
def test_what_is_equal_does_not_differ(value: object) -> None:
    assert differences(value, msgspec.json.decode(msgspec.json.encode(value))) == []


@given(VALUES, VALUES)
def test_what_is_not_equal_differs_and_as_much_the_other_way(one: object, two: object) -> None:
    there, back = differences(one, two), differences(two, one)
    assert bool(there) is (text(one) != text(two))
    assert [(each.pointer, each.after, each.before) for each in back] == [
        (each.pointer, each.before, each.after) for each in there
    ]
