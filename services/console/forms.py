"""Forms made of JSON schemas, and the payloads that they send."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
import orjson

_DEEPEST: Final = 4
_LONGEST_CHOICE: Final = 200
_LONGEST_HINT: Final = 500
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_MODEL: Final = re.compile(r"^.*?\burn:\S+\s*")

Schema = Mapping[str, Any]


class Kind(StrEnum):
    """How a field is entered."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    JSON = "json"
    """A list, or an object too deep for fields of its own."""


class FormField(msgspec.Struct, frozen=True):
    """One input. `name`: the path in the payload, its parts joined by dots. `group`: the objects that it is in.

    `title`: what stands beside it, if not the last part of the name.
    """

    name: str
    kind: Kind
    required: bool
    group: str = ""
    hint: str = ""
    options: tuple[str, ...] = ()
    most_characters: int | None = None
    nullable: bool = False
    """Where it is required, too: it is null then if it is empty."""
    title: str = ""

    @property
    def label(self) -> str:
        """What stands beside it."""
        return self.title or self.name.rpartition(".")[2]


class FormError(ValueError):
    """What was entered in the field `name` cannot be what it is for."""

    def __init__(self, name: str, entered: str) -> None:
        super().__init__(f"{name}: {entered[:50]}")
        self.name = name


def fields_of(schema: Schema, skipped: frozenset[str] = frozenset({"customData"})) -> tuple[FormField, ...]:
    """The inputs for what the schema allows, those of an object together; what is required comes first."""
    return tuple(_fields(schema, _resolved(schema, schema), "", _DEEPEST, skipped, needed=True))


def payload_of(fields: tuple[FormField, ...], entered: Mapping[str, str]) -> dict[str, Any]:
    """The payload that was entered; what is empty is left out. Raises FormError."""
    payload: dict[str, Any] = {}
    for field in fields:
        text = entered.get(field.name, "").strip()
        if text or (field.required and field.nullable):
            place = payload
            *path, last = field.name.split(".")
            for part in path:
                place = place.setdefault(part, {})
            place[last] = _value(field, text) if text else None
    return payload


def entered_of(fields: tuple[FormField, ...], payload: Mapping[str, Any]) -> dict[str, str]:
    """What is to be entered to send that payload; what no field is for is left out."""
    entered = {}
    for field in fields:
        value: Any = payload
        for part in field.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            entered[field.name] = _text(field, value)
    return entered


def _text(field: FormField, value: Any) -> str:
    plain = field.kind in (Kind.TEXT, Kind.CHOICE) and isinstance(value, str)
    return value if plain else orjson.dumps(value).decode()


def _value(field: FormField, text: str) -> Any:
    try:
        match field.kind:
            case Kind.INTEGER:
                return _integer(text)
            case Kind.NUMBER:
                return msgspec.json.decode(text, type=float)
            case Kind.FLAG:
                return {"true": True, "false": False}[text]
            case Kind.JSON:
                return orjson.loads(text)
            case Kind.TEXT | Kind.CHOICE:
                return text
    except (ValueError, KeyError, RecursionError) as error:
        raise FormError(field.name, text) from error


def _fields(
    root: Schema, schema: Schema, path: str, depth: int, skipped: frozenset[str], *, needed: bool
) -> Iterator[FormField]:
    required = schema.get("required", ())
    properties = [(name, each) for name, each in schema.get("properties", {}).items() if name not in skipped]
    for name, raw in sorted(properties, key=lambda each: each[0] not in required):
        found = _resolved(root, raw)
        full = f"{path}.{name}" if path else name
        is_needed = needed and name in required
        if found.get("type") == "object" and found.get("properties") and depth > 1:
            yield from _fields(root, found, full, depth - 1, skipped, needed=is_needed)
        else:
            options = tuple(str(each) for each in found.get("enum", ()) if each is not None)
            yield FormField(
                name=full,
                kind=_kind(found, options),
                required=is_needed,
                group=path,
                hint=_hint(raw.get("description", found.get("description", ""))),
                options=options[:_LONGEST_CHOICE],
                most_characters=found.get("maxLength"),
                nullable=any(each.get("type") == "null" for each in raw.get("anyOf", ())),
            )


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _hint(description: str) -> str:
    """What OCPP says of a field, without the identifiers of its model that stand before it."""
    return _MODEL.sub("", " ".join(description.split()))[:_LONGEST_HINT]


def _kind(schema: Schema, options: tuple[str, ...]) -> Kind:
    if options and schema.get("type") != "integer":
        return Kind.CHOICE
    kinds = {"integer": Kind.INTEGER, "number": Kind.NUMBER, "boolean": Kind.FLAG, "string": Kind.TEXT}
    return kinds.get(schema.get("type", ""), Kind.JSON)


def _resolved(root: Schema, schema: Schema) -> Schema:
    """The schema that this one refers to; of several that allow a value the one that is not null."""
    for _ in range(_DEEPEST):
        if "$ref" in schema:
            *_start, place, name = schema["$ref"].split("/")
            schema = root[place][name]
        elif "anyOf" in schema:
            schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
        else:
            break
    return schema
