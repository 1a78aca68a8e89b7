"""What is wrong with a payload, fault by fault: one walk beside its schema, in time linear in what is walked.

The JSON schema library says quickly whether a payload conforms, but takes some ten microseconds for each fault that it
lists, and lists all of them: a charger chooses how many there are. This walk takes about one, and ends at a bound.
It knows the keywords that OCPP's schemas use, and refuses a schema with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class Fault(msgspec.Struct, frozen=True):
    """One failed keyword. ``path`` leads to ``instance``; ``expected`` is the keyword's argument.

    ``required`` has one fault for each missing name, ``additionalProperties`` one for each object: ``expected`` is
    the tuple of names that are not listed. Of ``enum`` it is a mapping from each listed word, case-folded, to the word.
    Of a value of a wrong type nothing else is said.
    """

    keyword: str
    path: Path
    instance: Any
    expected: Any

    @property
    def weight(self) -> int:
        """How many faults it counts as."""
        return len(self.expected) if self.keyword == "additionalProperties" else 1

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


class Walk:
    """A schema, ready to be walked. Raises ValueError for a keyword that it does not know."""

    def __init__(self, schema: Schema) -> None:
        self._root = _compiled(schema, schema)

    def faults(self, payload: Any, most: int = _NO_LIMIT) -> list[Fault]:
        """Return the faults in the payload's order; once they weigh more than ``most``, no further ones are sought."""
        found = _Found(most)
        self._root.visit(payload, found)
        return found.faults

    def optional(self, path: Path) -> bool:
        """Whether a payload may lack what ``path`` leads to: an item of a list, or a property that is not required.

        Every part of ``path`` must be listed. The payload itself, which the empty path leads to, cannot be lacking.
        """
        node, lacking = self._root, False
        for part in path:
            node, lacking = node.inner(part)
        return lacking


class _Found:
    """The faults so far; ``trail`` leads to where the walk is."""

    __slots__ = ("faults", "left", "trail")

    def __init__(self, most: int) -> None:
        self.faults: list[Fault] = []
        self.left = most
        self.trail: list[str | int] = []

    def add(self, keyword: str, instance: Any, expected: Any) -> None:
        fault = Fault(keyword, tuple(self.trail), instance, expected)
        self.faults.append(fault)
        self.left -= fault.weight


class _Node:
    """Anything: what a schema without keywords says."""

    def visit(self, value: Any, found: _Found) -> None:
        """Add the faults of ``value`` and of what is in it."""

    def inner(self, part: str | int) -> tuple[_Node, bool]:
        """Return what describes the item or property ``part``, and whether it may be lacking."""
        raise LookupError(part)


class _Value(_Node):
    """A value without others in it."""

    def __init__(self, schema: Schema) -> None:
        self._type: str = schema["type"]
        self._types = _TYPES[self._type]
        listed = schema.get("enum")
        self._listed = None if listed is None else {word.casefold(): word for word in listed}
        self._allowed = frozenset(listed or ())
        self._longest = schema.get("maxLength", _NO_LIMIT)
        self._checks = [
            (name, schema[name], _check(name, schema[name])) for name in _LIBRARY if name in schema
        ]

    def visit(self, value: Any, found: _Found) -> None:
        if type(value) not in self._types:
            found.add("type", value, self._type)
            return
        if self._listed is not None and value not in self._allowed:
            found.add("enum", value, self._listed)
        if type(value) is str and len(value) > self._longest:
            found.add("maxLength", value, self._longest)
        for name, expected, fits in self._checks:
            if not fits(value):
                found.add(name, value, expected)


class _List(_Node):
    def __init__(self, schema: Schema, items: _Node) -> None:
        self._items = items
        self._least = schema.get("minItems", 0)
        self._most = schema.get("maxItems", _NO_LIMIT)

    def inner(self, part: str | int) -> tuple[_Node, bool]:
        return self._items, True

    def visit(self, value: Any, found: _Found) -> None:
        if type(value) is not list:
            found.add("type", value, "array")
            return
        if len(value) < self._least:
            found.add("minItems", value, self._least)
        if len(value) > self._most:
            found.add("maxItems", value, self._most)
        trail, visit = found.trail, self._items.visit
        trail.append(0)
        for number, item in enumerate(value):
            if found.left < 0:
                break
            trail[-1] = number
            visit(item, found)
        trail.pop()


class _Object(_Node):
    def __init__(self, schema: Schema, properties: Mapping[str, _Node]) -> None:
        self._properties = properties
        self._required: tuple[str, ...] = tuple(schema.get("required", ()))
        self._closed = schema.get("additionalProperties", True) is False

    def inner(self, part: str | int) -> tuple[_Node, bool]:
        return self._properties[str(part)], part not in self._required

    def visit(self, value: Any, found: _Found) -> None:
        if type(value) is not dict:
            found.add("type", value, "object")
            return
        for name in self._required:
            if name not in value:
                found.add("required", value, name)
        properties, trail = self._properties, found.trail
        surplus: list[str] = []
        trail.append("")
        for name, inner in value.items():
            if found.left < 0:
                break
            node = properties.get(name)
            if node is None:
                surplus.append(name)
            else:
                trail[-1] = name
                node.visit(inner, found)
        trail.pop()
        if surplus and self._closed:
            found.add("additionalProperties", value, tuple(surplus))


def _compiled(schema: Schema, root: Schema) -> _Node:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    if not schema.keys() <= _KNOWN:
        raise ValueError(f"unknown keywords: {sorted(schema.keys() - _KNOWN)}")
    match schema.get("type"):
        case "object":
            inner = schema.get("properties", {})
            return _Object(schema, {name: _compiled(each, root) for name, each in inner.items()})
        case "array":
            return _List(schema, _compiled(schema["items"], root))
        case None if not schema.keys() - _WITHOUT_EFFECT:
            return _Node()
        case _:
            return _Value(schema)


def _check(keyword: str, argument: Any) -> Callable[[Any], bool]:
    return jsonschema_rs.Draft4Validator({keyword: argument}, validate_formats=True).is_valid
