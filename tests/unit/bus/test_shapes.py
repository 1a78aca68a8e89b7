"""The fingerprint of a state's type, and states that are kept in other shapes than today's."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest

from libs.bus.errors import ContractMismatchError, StateError, StateShapeError
from libs.bus.message import Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import FormerState, fingerprint, grown
from libs.bus.state_codec import StateCodec
from libs.bus.states import States


def struct(*fields: Any, **options: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct("State", fields, **options)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Color(StrEnum):
    BLUE = "blue"
    RED = "red"


class Shade(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREY = "grey"


class Tree(msgspec.Struct):
    twigs: tuple["Tree", ...] = ()


A, B = ("a", int), ("b", int)
PACKED = Annotated[bytes, msgspec.Meta(extra={"packed": "<qq"})]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (struct(A, B, array_like=True), struct(B, A, array_like=True)),
        (struct(A, B), struct(A, B, array_like=True)),
        (struct(A), struct(A, ("b", int, 0))),
        (struct(A), struct(("a", int | None))),
        (struct(A), struct(("a", str))),
        (struct(A), struct(A, rename={"a": "x"})),
        (struct(A), struct(A, tag="x")),
        (struct(A, tag="x"), struct(A, tag="y")),
        (struct(A, tag="x"), struct(A, tag="x", tag_field="kind")),
        (struct(("a", Colour)), struct(("a", Shade))),
        (struct(("a", bytes)), struct(("a", PACKED))),
        (struct(("a", dict[str, int])), struct(("a", dict[str, str]))),
        (struct(("a", tuple[int, int])), struct(("a", tuple[int, ...]))),
        (
            struct(("a", struct(A, B, array_like=True))),
            struct(("a", struct(B, A, array_like=True))),
        ),
        (
            struct(("a", tuple[struct(A), ...] | None)),  # type: ignore[misc]
            struct(("a", tuple[struct(B), ...] | None)),  # type: ignore[misc]
        ),
    ],
    ids=str,
)
def test_what_changes_the_bytes_changes_the_fingerprint(one: type, other: type) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (struct(A, B), struct(B, A)),
        (struct(A), msgspec.defstruct("Other", [A], frozen=True)),
        (struct(("a", int, 1)), struct(("a", int, 2))),
        (struct(("a", Colour)), struct(("a", Color))),
        (struct(("a", int | str | None)), struct(("a", None | str | int))),
        (struct(("a", list[int])), struct(("a", tuple[int, ...]))),
    ],
    ids=str,
)
def test_what_leaves_the_bytes_alone_leaves_the_fingerprint(one: type, other: type) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_a_fingerprint_is_the_same_everywhere_and_always() -> None:
    whole = struct(
        A, ("c", Colour), ("n", float | None), ("d", dict[bytes, tuple[bool, str]]), ("t", Tree),
        array_like=True, tag="whole",
    )  # fmt: skip
    assert fingerprint(whole) == "16b5ea8c8984a9f4"


def test_a_type_may_contain_itself() -> None:
    assert fingerprint(Tree) != fingerprint(struct(("twigs", tuple[int, ...])))


@pytest.mark.parametrize("field", [complex, object])
def test_what_a_state_cannot_hold_has_no_fingerprint(field: type) -> None:
    with pytest.raises(TypeError):
        fingerprint(struct(("a", field)))


def test_a_type_that_omits_defaults_has_no_fingerprint() -> None:
    with pytest.raises(TypeError, match="omits defaults"):
        fingerprint(struct(("a", int, 1), omit_defaults=True))


class First(msgspec.Struct, frozen=True, array_like=True):
    wh: int
    limit: int


class Second(msgspec.Struct, frozen=True, array_like=True):
    limit: int
    wh: int
    note: str = ""


class Third(msgspec.Struct, frozen=True, array_like=True):
    limit: int
    wh: int
    note: str = ""
    seen: int = 0


def second(first: First) -> Second:
    return Second(first.limit, first.wh)


def third(state: Any) -> Third:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Third)


def back_to_second(state: Third) -> Second:
    return Second(state.limit, state.wh, state.note)


FORMER: tuple[FormerState[Third], ...] = (
    FormerState("0.1", First, lambda first: third(second(first))),
    FormerState("0.2.3", Second, third, back_to_second),
)


class Meter(Processor[Third]):
    name = "meter"
    inputs = ("a",)
    outputs = ()
    state = Third
    former_states = FORMER
    unmarked_state: str | None = fingerprint(First)

    def step(self, state: Third | None, event: Message | Tick, tables: Tables) -> Step[Third]:
        raise NotImplementedError


METER = Meter()


def restored(*records: tuple[str, object, bytes | None], release: str = "") -> States[Third]:
    states = States(METER, StateCodec(METER, release))
    for key, state, shape in records:
        headers = [] if shape is None else [("shape", shape)]
        states.load(key, None if state is None else msgspec.msgpack.encode(state), headers)
    states.loaded("state.meter", 7)
    return states


def shape(state: Any) -> bytes:
    return fingerprint(state).encode()


def test_a_state_is_read_in_the_shape_that_it_was_written_in() -> None:
    states = restored(
        ("unmarked", First(1, 2), None),
        ("first", First(1, 2), shape(First)),
        ("second", Second(2, 1, "n"), shape(Second)),
        ("third", Third(2, 1, "n", 4), shape(Third)),
    )
    assert [states.get(key) for key in ("unmarked", "first", "second", "third")] == [
        Third(2, 1), Third(2, 1), Third(2, 1, "n"), Third(2, 1, "n", 4),
    ]  # fmt: skip


def test_a_state_that_changes_is_written_in_todays_shape() -> None:
    states = restored(("a", First(1, 2), shape(First)), ("b", First(3, 4), shape(First)))
    states.put("a", Third(5, 6))
    (record,) = states.encode_changes("topic", 0)
    assert dict(record.headers)["shape"] == shape(Third)
    assert msgspec.msgpack.decode(record.value or b"", type=Third) == Third(5, 6)
    assert (states.get("a"), states.get("b")) == (Third(5, 6), Third(4, 3))


def test_an_unknown_shape_stops_the_restore_with_what_an_operator_needs() -> None:
    with pytest.raises(StateShapeError) as raised:
        restored(("a", Third(1, 1), shape(Third)), ("b", Third(1, 1), b"0011"), ("c", Third(1, 1), b"0011"))
    error = raised.value
    assert (error.processor, error.topic, error.partition) == ("meter", "state.meter", 7)
    assert error.stored == {"0011": 2}
    assert set(error.expected) == {fingerprint(state) for state in (First, Second, Third)}
    assert "2 keys of 0011" in str(error)


def test_a_state_without_fingerprint_is_refused_where_there_should_be_none() -> None:
    class New(Meter):
        unmarked_state = None

    states = States(New(), StateCodec(New()))
    states.load("a", b"\x90", [])
    with pytest.raises(StateShapeError, match="1 keys of no fingerprint"):
        states.loaded("state.meter", 0)


def test_only_the_last_record_of_a_key_counts() -> None:
    states = restored(
        ("a", First(1, 1), b"0011"),
        ("a", Third(3, 4), shape(Third)),
        ("b", First(1, 1), b"0011"),
        ("b", None, None),
    )
    assert states.get("a") == Third(3, 4)
    assert states.get("b") is None


def test_bytes_that_are_not_what_their_fingerprint_says_are_an_error_of_their_own() -> None:
    states = restored(("a", ["x"], shape(Third)))
    with pytest.raises(StateError, match="meter"):
        states.get("a")


def test_an_upcast_that_fails_is_a_state_that_cannot_be_read() -> None:
    class Broken(Meter):
        former_states = (FormerState("0.1", First, lambda first: Third(first.wh // 0, 0)),)

    states = States(Broken(), StateCodec(Broken()))
    states.load("a", msgspec.msgpack.encode(First(1, 2)), [("shape", shape(First))])
    states.loaded("state.meter", 0)
    with pytest.raises(StateError, match="ZeroDivisionError"):
        states.get("a")


@pytest.mark.parametrize("release", ["0.2.0", "0.2.3", "0.2"])
def test_while_an_earlier_release_has_to_read_them_states_are_written_as_it_did(release: str) -> None:
    states = restored(("a", Third(2, 1, "n", 4), shape(Third)), release=release)
    assert states.get("a") == Third(2, 1, "n", 4)
    states.put("a", Third(2, 1, "n", 5))
    (record,) = states.encode_changes("topic", 0)
    assert dict(record.headers)["shape"] == shape(Second)
    assert msgspec.msgpack.decode(record.value or b"", type=Second) == Second(2, 1, "n")
    # What is not stored is not remembered either: another process would not know it.
    assert states.get("a") == Third(2, 1, "n", 0)


@pytest.mark.parametrize("release", ["", "0.2.4", "0.3", "1.0", "0.10"])
def test_a_release_that_kept_states_as_today_changes_nothing(release: str) -> None:
    assert StateCodec(METER, release).shape == shape(Third)


def test_a_state_that_has_grown_is_read_and_written_as_it_is() -> None:
    class Grown(Meter):
        former_states = (grown("0.2.3", fingerprint(Second)),)

    states = States(Grown(), StateCodec(Grown(), "0.2.3"))
    states.load("a", msgspec.msgpack.encode(Second(2, 1, "n")), [("shape", shape(Second))])
    states.loaded("state.meter", 0)
    assert states.get("a") == Third(2, 1, "n")
    states.put("a", Third(2, 1, "n", 5))
    (record,) = states.encode_changes("topic", 0)
    assert dict(record.headers)["shape"] == shape(Second)
    assert msgspec.msgpack.decode(record.value or b"", type=Second) == Second(2, 1, "n")
    assert states.get("a") == Third(2, 1, "n", 5)


def test_a_release_to_which_there_is_no_way_back_is_refused_at_once() -> None:
    with pytest.raises(ContractMismatchError, match=r"meter cannot write its states for release 0\.1"):
        StateCodec(METER, "0.1")


@pytest.mark.parametrize("release", ["next", "1.", "v1.0", "1.0-rc1"])
def test_a_release_is_made_of_numbers(release: str) -> None:
    with pytest.raises(ContractMismatchError, match="is no release"):
        StateCodec(METER, release)
