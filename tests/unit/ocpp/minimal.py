"""The smallest payload that conforms to each schema, made from the schema itself."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import orjson

from libs.ocpp.schemas import Kind
from libs.ocpp.versions import Version

_FOLDERS = {Version.V16: "v16", Version.V201: "v201", Version.V21: "v21"}
_TEXTS = {"date-time": "2026-01-01T00:00:00Z", "uri": "https://example.org/"}


def minimal(version: Version, action: str, kind: Kind) -> dict[str, Any]:
    schema = schema_of(version, action, kind)
    payload = _value(schema, schema)
    assert isinstance(payload, dict)
    return payload


def statuses(version: Version, action: str) -> list[str]:
    """Return what the response schema lists for its ``status``, nothing if it has none."""
    schema = schema_of(version, action, "response")
    prop = schema.get("properties", {}).get("status", {})
    if "$ref" in prop:
        prop = schema["definitions"][prop["$ref"].rpartition("/")[2]]
    return list(prop.get("enum", []))


@cache
def schema_of(version: Version, action: str, kind: Kind) -> dict[str, Any]:
    """Return the schema of one message, as the file has it. Do not change it."""
    names = ["Response"] if kind == "response" else ["Request", ""]
    folder = resources.files("ocpp").joinpath(_FOLDERS[version], "schemas")
    source = next(f for n in names if (f := folder.joinpath(f"{action}{n}.json")).is_file())
    schema: dict[str, Any] = orjson.loads(source.read_bytes())
    return schema


def _value(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(root["definitions"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: _value(schema["properties"][name], root) for name in schema.get("required", [])}
    if kind == "array":
        return [_value(schema["items"], root) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        return _TEXTS.get(schema.get("format", ""), "x")
    return {"integer": int(schema.get("minimum", 1)), "number": 1.0, "boolean": True}[kind]
