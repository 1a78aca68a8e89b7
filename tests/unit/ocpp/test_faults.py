"""The walk that lists faults finds what the schema library finds, and stops at its bound."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from libs.ocpp.faults import Walk
from libs.ocpp.routing import ROUTES
from libs.ocpp.schemas import Kind, files
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal, schema_of
from tests.unit.ocpp.payloads import every_fault, largest

ROWS = [(v, action, kind) for v in Version for action in ROUTES[v] for kind in files(v, action)]
_BY_LIBRARY = {"falseSchema": "additionalProperties"}
"""What the library calls a surplus property where none at all is listed."""


def _library(schema: dict[str, Any], payload: Any) -> set[tuple[str, tuple[str | int, ...]]]:
    validator = jsonschema_rs.Draft4Validator(schema, validate_formats=True)
    found = set()
    for error in validator.iter_errors(payload):
        path = tuple(error.instance_path)
        known = _BY_LIBRARY.get(error.kind.name)
        found.add((known, path[:-1]) if known else (error.kind.name, path))
    # Of a value of a wrong type the walk says nothing else.
    wrong = {path for name, path in found if name == "type"}
    return {(name, path) for name, path in found if name == "type" or path not in wrong}


@pytest.mark.parametrize(("version", "action", "kind"), ROWS)
def test_it_finds_what_the_library_finds(version: Version, action: str, kind: Kind) -> None:
    schema = schema_of(version, action, kind)
    walk = Walk(schema)
    for payload in (minimal(version, action, kind), largest(version, action, kind)):
        assert not walk.faults(payload).faults
    for number, fault in enumerate(every_fault(version, action, kind)):
        found = walk.faults(fault.payload).faults
        # The library has to be asked with all of the schema each time: a part of the faults is enough.
        if number % 7 == 0:
            assert {(f.keyword, f.path) for f in found} == _library(schema, fault.payload), fault
        assert found, fault
        assert all(0 < len(f.message) < 500 for f in found)


def test_it_stops_at_its_bound() -> None:
    walk = Walk(schema_of(Version.V16, "MeterValues", "request"))
    samples = [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{}] * 1_000}] * 10
    payload = {"connectorId": 1, "meterValue": samples}
    assert len(walk.faults(payload, 5).faults) == 6
    assert len(walk.faults(payload).faults) == 10_000


def test_it_refuses_a_keyword_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Walk({"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}})
