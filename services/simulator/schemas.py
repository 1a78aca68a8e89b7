"""The OCPP JSON schemas of the `ocpp` package, compiled once by jsonschema-rs."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs


@cache
def validator(version: str, name: str) -> jsonschema_rs.Draft4Validator | None:
    """The validator of one schema file, such as ("1.6", "Reset") or ("2.0.1", "ResetRequest"); None if unknown."""
    source = files("ocpp") / f"v{version.replace('.', '')}" / "schemas" / f"{name}.json"
    if not name.isalnum() or not source.is_file():
        return None
    return jsonschema_rs.Draft4Validator(json.loads(source.read_text(encoding="utf-8-sig")))


def call_error(version: str, action: str, payload: Any) -> str | None:
    """Why `payload` is not a valid call of `action`, or None if it is (or if the action is unknown)."""
    schema = validator(version, action if version == "1.6" else f"{action}Request")
    return None if schema is None else _first(schema, payload)


def result_error(version: str, action: str, payload: Any) -> str | None:
    """Why `payload` is not a valid answer to `action`, or None if it is."""
    schema = validator(version, f"{action}Response")
    return f"no such action: {action}" if schema is None else _first(schema, payload)


def _first(schema: jsonschema_rs.Draft4Validator, payload: Any) -> str | None:
    error = next(schema.iter_errors(payload), None)
    return None if error is None else f"{'/'.join(map(str, error.instance_path))}: {error.message}"
