"""States as released versions stored them are read by today's code, whatever has become of their types."""

import hashlib
from typing import Any, Literal

import msgspec
import pytest

from libs.bus.shapes import FormerState, Shapes, fingerprint, shape_of
from libs.bus.state_codec import StateCodec
from tests.unit.states.filling import Filling
from tests.unit.states.golden import Golden, Kept, keep, kept, named, processors, released
from tests.unit.states.growth import obstacles

PROCESSORS = processors()
TODAY = kept()
RELEASED = released()
KEPT = [pytest.param(*key, id="-".join(key)) for key in RELEASED if key[1] in TODAY]
BACK = [
    pytest.param(former.release, name, id=f"{former.release}-{name}")
    for name, (_, formers) in TODAY.items()
    for former in formers
    if former.downcast is not None and not former.grown_from
]
GROWN = [
    pytest.param(former.release, name, id=f"{former.release}-{name}")
    for name, (_, formers) in TODAY.items()
    for former in formers
    if former.grown_from
]

CHANGED = """\
The states of {name} have another shape than in release {release} (fingerprint {stored} there, {today} today),
and nothing reads those. Where fields (with defaults, in arrays at the end) or enums' symbols were only added, register

    former_states = (grown("{release}", "{stored}"),)

Else copy the types of {release} to where the processor can import them, and register

    former_states = (FormerState("{release}", <their type>, upcast=..., downcast=...),)

CONTRIBUTING.md, "Change a state", has the recipe."""


def unread(release: str, name: str, golden: Golden, today: Kept) -> str:
    """Why today's code does not read the states of a release; empty if it does."""
    shapes: Shapes[Any] = Shapes(*today)
    if golden.fingerprint in shapes:
        return ""
    return CHANGED.format(name=name, release=release, stored=golden.fingerprint, today=shapes.current)


def differences(expected: Any, found: Any, place: str = "state") -> list[str]:
    """Where `found` is not as expected. It may have more fields."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for name in expected
            for difference in differences(expected[name], found.get(name, "nothing"), f"{place}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [each for n, (one, other) in pairs for each in differences(one, other, f"{place}[{n}]")]
    return [] if expected == found else [f"{place}: {expected!r} is read as {found!r}"]


@pytest.mark.parametrize(("release", "name"), KEPT)
def test_a_released_state_has_a_shape_that_is_read(release: str, name: str) -> None:
    why = unread(release, name, RELEASED[release, name], TODAY[name])
    assert not why, why


@pytest.mark.parametrize(("release", "name"), KEPT)
def test_a_released_state_is_read_to_what_it_held(release: str, name: str) -> None:
    golden = RELEASED[release, name]
    shapes: Shapes[Any] = Shapes(*TODAY[name])
    if golden.fingerprint not in shapes:
        pytest.skip("another test says so")
    state = shapes.decode(golden.value, golden.fingerprint)
    assert type(state) is TODAY[name].type
    assert differences(golden.expected or golden.content, named(state)) == []


@pytest.mark.parametrize(("release", "name"), BACK)
def test_a_way_back_leads_to_what_the_release_stored(release: str, name: str) -> None:
    former = next(each for each in TODAY[name].former if each.release == release)
    assert former.downcast is not None
    golden = RELEASED[release, name]
    assert former.fingerprint == golden.fingerprint
    state = former.upcast(msgspec.msgpack.decode(golden.value, type=former.type))
    assert differences(golden.content, named(former.downcast(state))) == []


@pytest.mark.parametrize(("release", "name"), GROWN)
def test_a_state_that_is_said_to_have_grown_has_nothing_else(release: str, name: str) -> None:
    assert obstacles(RELEASED[release, name].shape, shape_of(TODAY[name].type)) == []


@pytest.mark.parametrize(("release", "name"), KEPT)
def test_what_is_kept_of_a_release_agrees_with_itself(release: str, name: str) -> None:
    golden = RELEASED[release, name]
    assert hashlib.sha256(msgspec.json.encode(golden.shape)).hexdigest()[:16] == golden.fingerprint


@pytest.mark.parametrize("name", TODAY)
def test_todays_state_comes_back_whole(name: str) -> None:
    state = Filling().value(TODAY[name].type)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=TODAY[name].type) == state


@pytest.mark.parametrize("name", PROCESSORS)
def test_states_without_a_fingerprint_are_those_of_the_release_before_it(name: str) -> None:
    unmarked = PROCESSORS[name].unmarked_state
    first = RELEASED.get(("0.1.0", name))
    assert unmarked == (None if first is None else first.fingerprint)


@pytest.mark.parametrize(("release", "name"), [each for each in KEPT if each.values[1] in PROCESSORS])
def test_a_processor_writes_the_shape_of_a_release_that_it_runs_beside(release: str, name: str) -> None:
    """Where there is no way back the changelog says that the service has to be stopped, and this test so, too."""
    codec = StateCodec(PROCESSORS[name], release)
    assert codec.shape.decode() == RELEASED[release, name].fingerprint


# --- the tests themselves


class Before(msgspec.Struct, frozen=True, array_like=True):
    wh: int
    limit: int


class After(msgspec.Struct, frozen=True, array_like=True):
    limit: int
    wh: int


BEFORE = Golden(fingerprint(Before), None, msgspec.msgpack.encode(Before(1, 2)), {"wh": 1, "limit": 2})


UPCASTS = (FormerState("1.0", Before, lambda before: After(before.limit, before.wh)),)


def test_a_type_that_changed_without_an_upcast_is_told_with_what_to_do() -> None:
    why = unread("1.0", "meter", BEFORE, Kept(After, ()))
    assert 'FormerState("1.0"' in why
    assert "CONTRIBUTING.md" in why
    assert not unread("1.0", "meter", BEFORE, Kept(After, UPCASTS))


def test_exchanged_fields_are_seen_in_the_content() -> None:
    wrong = msgspec.msgpack.decode(BEFORE.value, type=After)
    assert differences(BEFORE.content, named(wrong)) == [
        "state.wh: 1 is read as 2", "state.limit: 2 is read as 1",
    ]  # fmt: skip
    right = Shapes(After, UPCASTS).decode(BEFORE.value, BEFORE.fingerprint)
    assert differences(BEFORE.content, named(right)) == []


def test_what_is_kept_is_never_written_over(tmp_path: Any) -> None:
    keep(tmp_path / "9.9")
    assert {path.stem for path in (tmp_path / "9.9").iterdir()} == set(TODAY)
    with pytest.raises(FileExistsError):
        keep(tmp_path / "9.9")


class Grown(msgspec.Struct, frozen=True, array_like=True):
    wh: int
    limit: int
    note: str = ""


class Named(msgspec.Struct, frozen=True):
    wh: int
    limit: int


class NamedMore(msgspec.Struct, frozen=True):
    limit: int
    more: tuple[Grown, ...] = ()
    wh: int = 0


class One(msgspec.Struct, frozen=True):
    kind: Literal["a"] | None
    parts: dict[str, tuple[int, Before]]


class Other(msgspec.Struct, frozen=True):
    kind: Literal["a", "b"] | None
    parts: dict[str, tuple[int, Grown]]


@pytest.mark.parametrize(("old", "new"), [(Before, Grown), (Named, NamedMore), (One, Other)])
def test_what_only_has_more_has_grown(old: Any, new: Any) -> None:
    assert obstacles(shape_of(old), shape_of(new)) == []
    assert obstacles(shape_of(new), shape_of(old))


@pytest.mark.parametrize(("old", "new"), [(Before, After), (Before, Named), (Grown, After), (Named, int)])
def test_what_is_otherwise_has_not_grown(old: Any, new: Any) -> None:
    assert obstacles(shape_of(old), shape_of(new))
