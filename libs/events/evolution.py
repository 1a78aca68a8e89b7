"""How the contract may grow: what a new version must keep of every release before it.

The registry's BACKWARD_TRANSITIVE says that a new reader reads old records. These rules also protect consumers that
stay behind: those that read new records with an old schema, query columns by name, or count on a topic's key.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from libs.events.contract import Contract, Schema, Topic, without_docs

_FACTS: Final = ("key", "partitions", "scaling", "cleanup", "retention_ms", "dead_letters", "confidential")


def breaches(released: Contract, today: Contract) -> list[str]:
    """What `today` does not keep of `released`, one sentence each that begins with the place; empty: all is kept."""
    found: list[str] = []
    for name, topic in released.topics.items():
        found += [f"topic {name}: {fault}" for fault in _topic(topic, today.topics.get(name))]
    for name, schema in released.schemas.items():
        if name in today.schemas:
            found += _type(schema, today.schemas[name], name)
        else:
            found.append(f"{name}: the record is removed")
    return found


def faults(contract: Contract) -> list[str]:
    """What is wrong with a contract by itself: enums without a default, one name for two types."""
    found: list[str] = []
    defined: dict[str, Any] = {}
    for name, schema in contract.schemas.items():
        for path, named in _named_types(schema, name):
            bare = without_docs(named)
            if defined.setdefault(named["name"], bare) != bare:
                found.append(f"{path}: {named['name']} is defined otherwise elsewhere")
            if named["type"] == "enum" and named.get("default") not in named["symbols"]:
                found.append(f"{path}: enum {named['name']} has no default among its symbols")
    return found


def _topic(was: Topic, now: Topic | None) -> Iterator[str]:
    if now is None:
        yield "the topic is removed"
        return
    for fact in _FACTS:
        before, after = getattr(was, fact), getattr(now, fact)
        if before != after:
            yield f"{fact} was {before}, is {after}"
    if len(was.schemas) == 1 < len(now.schemas):
        yield "a topic of one record becomes a union"
    elif len(was.schemas) > 1 >= len(now.schemas):
        yield "a union becomes a topic of one record"
    elif now.schemas[: len(was.schemas)] != was.schemas:
        yield "records are removed or reordered: new ones come at the end"


def _type(was: Any, now: Any, path: str) -> Iterator[str]:
    match was, now:
        case {"type": "record"}, {"type": "record"}:
            yield from _record(was, now, path)
        case {"type": "enum"}, {"type": "enum"}:
            yield from _enum(was, now, path)
        case {"type": "array"}, {"type": "array"}:
            yield from _type(was["items"], now["items"], f"{path}[]")
        case [*before], [*after] if len(before) == len(after):
            for one, other in zip(before, after, strict=True):
                yield from _type(one, other, path)
        case _:
            if without_docs(was) != without_docs(now):
                yield f"{path}: the type was {_said(was)}, is {_said(now)}"


def _record(was: Schema, now: Schema, path: str) -> Iterator[str]:
    yield from _names(was, now, path)
    before, after = was["fields"], now["fields"]
    known = {field["name"]: field for field in after}
    for field in before:
        place = f"{path}.{field['name']}"
        if field["name"] not in known:
            yield f"{place}: the field is removed or renamed"
            continue
        yield from _type(field["type"], known[field["name"]]["type"], place)
        if "default" in field and field["default"] != known[field["name"]].get("default", _NONE):
            yield f"{place}: the default changed"
    old_names = [field["name"] for field in before]
    if known.keys() >= set(old_names) and list(known)[: len(before)] != old_names:
        yield f"{path}: fields are not in their old order with new ones at the end"
    for field in after:
        if field["name"] not in old_names and "default" not in field:
            yield f"{path}.{field['name']}: a new field has no default"


def _enum(was: Schema, now: Schema, path: str) -> Iterator[str]:
    yield from _names(was, now, path)
    if now["symbols"][: len(was["symbols"])] != was["symbols"]:
        yield f"{path}: symbols are removed or reordered: new ones come at the end"
    if "default" in was and was["default"] != now.get("default"):
        yield f"{path}: the enum's default changed"


def _names(was: Schema, now: Schema, path: str) -> Iterator[str]:
    for part in ("name", "namespace"):
        if was.get(part) != now.get(part):
            yield f"{path}: the type's {part} was {was.get(part)}, is {now.get(part)}"


def _named_types(schema: Any, path: str) -> Iterator[tuple[str, Schema]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _named_types(branch, path)
    elif isinstance(schema, Mapping):
        if "name" in schema:
            yield path, dict(schema)
        for field in schema.get("fields", ()):
            yield from _named_types(field["type"], f"{path}.{field['name']}")
        if "items" in schema:
            yield from _named_types(schema["items"], f"{path}[]")


def _said(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(map(_said, schema))
    if isinstance(schema, Mapping):
        return str(schema.get("logicalType") or schema.get("name") or schema["type"])
    return str(schema)


_NONE: Final = object()
