"""What fields there are, by name and type: those of records, of views, and of the API's models."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from libs.clickhouse.migrate import load_migrations
from libs.events.contract import load_contract
from services.api.http.fields import Input


class Kind(NamedTuple):
    """A type that JSON and Avro both have. `symbols`: what it may say; `spare`: what stands for those added later."""

    name: str
    nullable: bool = False
    symbols: frozenset[str] = frozenset()
    spare: str | None = None


def kinds_of_model(model: type[BaseModel]) -> dict[str, Kind]:
    """By name, the fields of a body or query as the API's documentation describes them."""
    mode: Any = "validation" if issubclass(model, Input) else "serialization"
    schema = model.model_json_schema(mode=mode, by_alias=False)
    return {
        name: kind_of_json(each, schema.get("$defs", {}))
        for name, each in schema.get("properties", {}).items()
    }


def kind_of_json(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Kind:
    """The kind of what a JSON schema describes; `named`: its definitions."""
    if "$ref" in schema:
        return kind_of_json(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        branches = [each for each in schema["anyOf"] if each.get("type") != "null"]
        kinds = {kind_of_json(each, named) for each in branches}
        kind = kinds.pop() if len(kinds) == 1 else Kind("any")
        return kind._replace(nullable=len(branches) < len(schema["anyOf"]))
    symbols = frozenset(map(str, schema.get("enum", [schema["const"]] if "const" in schema else [])))
    match schema.get("type"):
        case "string":
            return Kind("moment" if schema.get("format") == "date-time" else "text", symbols=symbols)
        case "array":
            return Kind(f"[{kind_of_json(schema['items'], named).name}]")
        case "object":
            return Kind("record")
        case None:
            return Kind("any")
        case other:
            return Kind(str(other))


def kind_of_avro(avro: Any) -> Kind:
    """The kind of an Avro type."""
    if isinstance(avro, list):
        return kind_of_avro(avro[1])._replace(nullable=True)
    if isinstance(avro, str):
        scalars = {"string": "text", "int": "integer", "long": "integer", "double": "number"}
        return Kind(scalars.get(avro, avro))
    if avro["type"] == "array":
        return Kind(f"[{kind_of_avro(avro['items']).name}]")
    if avro["type"] == "enum":
        return Kind("text", symbols=frozenset(avro["symbols"]), spare=avro.get("default"))
    return Kind("moment" if avro.get("logicalType") == "timestamp-micros" else avro["type"])


def fields_of(path: str, fields: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Kind]]]:
    """By path, what a record and the records in it say of their fields."""
    yield path, {field["name"]: kind_of_avro(field["type"]) for field in fields}
    for field in fields:
        inner = field["type"][1] if isinstance(field["type"], list) else field["type"]
        inner = inner.get("items", inner) if isinstance(inner, dict) else inner
        if isinstance(inner, dict) and "fields" in inner:
            yield from fields_of(f"{path}.{field['name']}", inner["fields"])


FIELDS: Final[Mapping[str, Mapping[str, Kind]]] = {
    path: kinds
    for name, schema in load_contract().schemas.items()
    for path, kinds in fields_of(name, schema["fields"])
}
"""By record, and by path of the records inside it, such as "CdrIssued.lines": its fields."""

VIEWS: Final[Mapping[str, str]] = {
    match[1]: statement
    for migration in load_migrations()
    for statement in migration.statements
    if (match := re.match(r"CREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?\$database\.(\w+)", statement))
}
"""By view, the statement that made it last."""
