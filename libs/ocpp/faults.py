"""What is wrong with a payload, fault by fault: one walk beside its schema, in time linear in what is walked.

The JSON schema library says quickly whether a payload conforms, but takes some ten microseconds for each fault that it
lists, and lists all of them: a charger chooses how many there are. This walk takes about one, and ends at a bound.
It knows the keywords that OCPP's schemas use, and refuses a schema with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jsonschema_rs
import msgspec

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    # Draft 4: 1.0 is no integer.
    "integer": (int,),
    "number": (int, float),
}
_WITHOUT_EFFECT: Final = frozenset(
    {
        "$id",
        "$schema",
        "additionalItems",
        "comment",
        "default",
        "definitions",
        "description",
        "javaType",
        "title",
    }
)
_LIBRARY: Final = ("format", "minimum", "maximum", "multipleOf")
"""Keywords of single values that are left to the library; each value is looked at by itself."""
_KNOWN: Final = _WITHOUT_EFFECT | {
    *("type", "enum", "maxLength", "properties", "required", "additionalProperties"),
    *("items", "minItems", "maxItems", *_LIBRARY),
}
_NO_LIMIT: Final = 2**63
_NAMED: Final = 5
_LONG: Final = 100


class Place:
    """Where a schema describes a value; there is one of each, however many values a payload has there.

    ``names`` lead to it, None for any item of a list. ``optional`` says of each of them whether a payload may lack what
    it leads to: an item of a list, or a property that is not required.
    """

    __slots__ = ("names", "optional", "value")

    def __init__(self, names: tuple[str | None, ...] = (), optional: tuple[bool, ...] = ()) -> None:
        self.names = names
        self.optional = optional
        self.value: _Value | None = None

    @property
    def lacking(self) -> bool:
        """Whether a payload may lack what is here; the payload itself cannot be lacking."""
        return self.optional[-1:] == (True,)

    def faults(self, path: Path, value: Any) -> list[Fault] | None:
        """What is wrong with another ``value`` here, at ``path``; None if others may be in it."""
        if self.value is None:
            return None
        wrong = self.value.wrong(value)
        return [Fault(keyword, path, value, expected, self) for keyword, expected in wrong] if wrong else []

    def inner(self, name: str | None, optional: bool) -> Place:
        """The place of a property, or of the items, of what is here."""
        return Place((*self.names, name), (*self.optional, optional))


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One failed keyword. ``path`` leads to ``instance``; ``expected`` is the keyword's argument.

    ``required`` has one fault for each missing name, ``additionalProperties`` one for each object: ``expected`` is
    the tuple of names that are not listed. Of ``enum`` it is a mapping from each listed word, case-folded, to the word.
    Of a value of a wrong type nothing else is said.
    """

    keyword: str
    path: Path
    instance: Any
    expected: Any
    place: Place

    @property
    def message(self) -> str:
        """What is wrong, for people; its length does not depend on the payload's but for one text in it."""
        value = _shown(self.instance)
        match self.keyword:
            case "required":
                return f"{self.expected!r} is a required property"
            case "additionalProperties":
                return f"not listed here: {', '.join(map(repr, self.expected[:_NAMED]))}"
            case "enum":
                return f"{value} is none of the values that are listed"
            case "type":
                return f"{value} is not of type {self.expected!r}"
            case "format":
                return f"{value} is no {self.expected!r}"
            case keyword:
                return f"{value} does not have {keyword} {self.expected}"


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case str() if len(value) > _LONG:
            return f"a text of {len(value)} characters"
    return repr(value)


class Found:
    """The faults so far, in the payload's order. ``left``: how many more are sought; below zero there are too many.

    ``nulls``: objects with the name of a property that they may lack and have as null. Where it is None these are
    faults. They are kept apart since some chargers write everything that they do not know as null.
    """

    __slots__ = ("faults", "left", "nulls", "trail")

    def __init__(self, most: int, nulls: bool = False) -> None:
        self.faults: list[Fault] = []
        self.left = most
        self.nulls: list[tuple[dict[str, Any], str]] | None = [] if nulls else None
        # Where the walk is.
        self.trail: list[str | int] = []

    def add(self, keyword: str, instance: Any, expected: Any, place: Place, weight: int = 1) -> None:
        """Add what is wrong where the walk is."""
        self.faults.append(Fault(keyword, tuple(self.trail), instance, expected, place))
        self.left -= weight


class Walk:
    """A schema, ready to be walked. Raises ValueError for a keyword that it does not know."""

    def __init__(self, schema: Schema) -> None:
        self._root = _compiled(schema, schema, Place())

    def faults(self, payload: Any, most: int = _NO_LIMIT, *, nulls: bool = False) -> Found:
        """Return the faults; once there are more than ``most``, no further ones are sought.

        Of properties that are not listed each counts. ``nulls``: those that may be lacking are no faults.
        """
        found = Found(most, nulls)
        self._root.visit(payload, found)
        return found


class _Node:
    """What a schema says of a value.

    Most values are right, and are told by three looks rather than by a visit: texts of up to ``fits`` characters, those
    that are ``listed``, and values of the types ``bare`` have no fault.
    """

    fits: int = -1
    listed: frozenset[Any] = frozenset()
    bare: tuple[type, ...] = ()

    def visit(self, value: Any, found: Found) -> None:
        """Add the faults of ``value`` and of what is in it."""

    def visit_all(self, items: list[Any], found: Found) -> None:
        """Add the faults of a list's items; the trail's last step is the number of one.

        Of these a payload may have most, so it takes as few calls as can be for each.
        """


class _Anything(_Node):
    bare = (type(None),)


class _Value(_Node):
    """A value without others in it."""

    def __init__(self, schema: Schema, place: Place) -> None:
        self._place = place
        place.value = self
        expected: str = schema["type"]
        self._types = _TYPES[expected]
        self._of_another_type = (("type", expected),)
        words = schema.get("enum")
        self._words = None if words is None else {word.casefold(): word for word in words}
        self._allowed = frozenset(words or ())
        self._longest = schema.get("maxLength", _NO_LIMIT)
        self._checks = [
            (name, schema[name], _check(name, schema[name])) for name in _LIBRARY if name in schema
        ]
        # Most places have one keyword that may fail, or none.
        self._simple = not self._checks and (words is None or "maxLength" not in schema)
        self._failed = (("maxLength", self._longest) if words is None else ("enum", self._words),)
        if words is None and not self._checks:
            self.fits = self._longest if str in self._types else -1
            self.bare = () if str in self._types else self._types
        elif not self._checks:
            self.listed = self._allowed

    def visit(self, value: Any, found: Found) -> None:
        for keyword, expected in self.wrong(value):
            found.add(keyword, value, expected, self._place)

    def visit_all(self, items: list[Any], found: Found) -> None:
        wrong, trail, faults, place = self.wrong, found.trail, found.faults, self._place
        for number, item in enumerate(items):
            for keyword, expected in wrong(item):
                trail[-1] = number
                faults.append(Fault(keyword, tuple(trail), item, expected, place))
                found.left -= 1
            if found.left < 0:
                break

    def wrong(self, value: Any) -> Sequence[tuple[str, Any]]:
        """The keywords that fail, each with its argument."""
        kind = type(value)
        if kind not in self._types:
            return self._of_another_type
        if self._simple:
            return (
                () if kind is not str or len(value) <= self.fits or value in self._allowed else self._failed
            )
        wrong: list[tuple[str, Any]] = []
        if self._words is not None and value not in self._allowed:
            wrong.append(("enum", self._words))
        if kind is str and len(value) > self._longest:
            wrong.append(("maxLength", self._longest))
        wrong += [(name, expected) for name, expected, fits in self._checks if not fits(value)]
        return wrong


class _Container(_Node):
    """A value with others in it, of the type `kind`, which a schema calls `named`."""

    kind: type
    named: str

    def __init__(self, place: Place) -> None:
        self._place = place

    def visit_all(self, items: list[Any], found: Found) -> None:
        kind, visit, trail, faults = self.kind, self.visit, found.trail, found.faults
        for number, item in enumerate(items):
            trail[-1] = number
            if type(item) is kind:
                visit(item, found)
            else:
                faults.append(Fault("type", tuple(trail), item, self.named, self._place))
                found.left -= 1
            if found.left < 0:
                break


class _List(_Container):
    kind = list
    named = "array"

    def __init__(self, schema: Schema, place: Place, items: _Node) -> None:
        super().__init__(place)
        self._items = items
        self._least = schema.get("minItems", 0)
        self._most = schema.get("maxItems", _NO_LIMIT)

    def visit(self, value: Any, found: Found) -> None:
        if type(value) is not list:
            found.add("type", value, self.named, self._place)
            return
        if len(value) < self._least:
            found.add("minItems", value, self._least, self._place)
        if len(value) > self._most:
            found.add("maxItems", value, self._most, self._place)
        found.trail.append(0)
        self._items.visit_all(value, found)
        found.trail.pop()


class _Object(_Container):
    kind = dict
    named = "object"

    def __init__(self, schema: Schema, place: Place, properties: Mapping[str, _Node]) -> None:
        super().__init__(place)
        self._properties = properties
        self._required: tuple[str, ...] = tuple(schema.get("required", ()))
        self._optional = properties.keys() - self._required
        self._closed = schema.get("additionalProperties", True) is False

    def visit(self, value: Any, found: Found) -> None:
        if type(value) is not dict:
            found.add("type", value, self.named, self._place)
            return
        for name in self._required:
            if name not in value:
                found.add("required", value, name, self._place)
        properties, trail, nulls = self._properties, found.trail, found.nulls
        surplus: list[str] = []
        trail.append("")
        for name, inner in value.items():
            node = properties.get(name)
            if node is None:
                surplus.append(name)
                continue
            kind = type(inner)
            if kind is str:
                if len(inner) <= node.fits or inner in node.listed:
                    continue
            elif kind in node.bare:
                continue
            elif inner is None and nulls is not None and name in self._optional:
                nulls.append((value, name))
                continue
            trail[-1] = name
            node.visit(inner, found)
            if found.left < 0:
                break
        trail.pop()
        if surplus and self._closed and found.left >= 0:
            found.add("additionalProperties", value, tuple(surplus), self._place, len(surplus))


def _compiled(schema: Schema, root: Schema, place: Place) -> _Node:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    if not schema.keys() <= _KNOWN:
        raise ValueError(f"unknown keywords: {sorted(schema.keys() - _KNOWN)}")
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            inner = {
                name: _compiled(each, root, place.inner(name, name not in required))
                for name, each in schema.get("properties", {}).items()
            }
            return _Object(schema, place, inner)
        case "array":
            return _List(schema, place, _compiled(schema["items"], root, place.inner(None, True)))
        case None if not schema.keys() - _WITHOUT_EFFECT:
            return _Anything()
        case _:
            return _Value(schema, place)


def _check(keyword: str, argument: Any) -> Callable[[Any], bool]:
    return jsonschema_rs.Draft4Validator({keyword: argument}, validate_formats=True).is_valid
