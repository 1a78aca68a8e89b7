"""The JSON schemas of OCPP 1.6, 2.0.1 and 2.1, compiled, and what their violations mean to a peer.

The schemas are the data files of the ``ocpp`` package. A version is compiled the first time that it is used
(about 0.03 s); a service calls :func:`load` before it opens its port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final, Literal

import jsonschema_rs
import msgspec
import orjson

from libs.ocpp.errors import ErrorCode
from libs.ocpp.faults import Fault, Found, Walk
from libs.ocpp.routing import ROUTES
from libs.ocpp.versions import Version

Kind = Literal["request", "response"]
Payload = dict[str, Any]

_FOLDERS: Final[Mapping[Version, str]] = {Version.V16: "v16", Version.V201: "v201", Version.V21: "v21"}
_MAX_MESSAGE = 200

# OCPP-J 1.6 §4.2.3 and 2.x part 4, table "Valid Error Codes".
_CODES: Final[Mapping[str, ErrorCode]] = {
    "type": ErrorCode.TYPE_CONSTRAINT_VIOLATION,
    "required": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "minItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "maxItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    # Not "conform the PDU structure" (1.6 §4.2.3).
    "additionalProperties": ErrorCode.FORMAT_VIOLATION,
}
_DEFAULT_CODE = ErrorCode.PROPERTY_CONSTRAINT_VIOLATION

_checks: dict[Version, dict[Kind, dict[str, Callable[[Any], bool]]]] = {}
_walks: dict[tuple[Version, str, Kind], Walk] = {}


class Violation(msgspec.Struct, frozen=True):
    """Why a payload does not conform: canonical ``code``, JSON pointer ``path``, ``message`` for people."""

    code: ErrorCode
    path: str
    message: str


def violation(fault: Fault) -> Violation:
    """Return the fault as the peer is told it."""
    pointer = "".join(f"/{part}" for part in fault.path)
    return Violation(_CODES.get(fault.keyword, _DEFAULT_CODE), pointer, fault.message[:_MAX_MESSAGE])


def files(version: Version, action: str) -> dict[Kind, str]:
    """Return the names of an action's schema files in the ``ocpp`` package; a SEND of 2.1 has no response."""
    folder = resources.files("ocpp").joinpath(_FOLDERS[version], "schemas")
    names: tuple[tuple[Kind, str], ...] = (
        ("request", f"{action}Request.json"),
        ("request", f"{action}.json"),  # 1.6, and the SEND of 2.1
        ("response", f"{action}Response.json"),
    )
    return {kind: name for kind, name in names if folder.joinpath(name).is_file()}


def request_schema(version: Version, action: str) -> dict[str, Any]:
    """The JSON schema of an action's request. Raises `KeyError` for an action that the version does not have."""
    return _schema(version, files(version, action)["request"])


def load(version: Version | None = None) -> None:
    """Compile the schemas of one version, or of all; a second call does nothing."""
    for each in Version if version is None else (version,):
        if each not in _checks:
            _checks[each] = _compile(each)


def validate(version: Version, action: str, kind: Kind, payload: Payload) -> Violation | None:
    """Check ``payload`` strictly; ``None`` means that it conforms.

    ``date-time`` must be RFC 3339 with a zone. ``multipleOf`` is compared as decimal, so 8.1 is a multiple of
    0.1. Raises ``KeyError`` for an action that the version does not have.
    """
    if is_valid(version, action, kind, payload):
        return None
    found = faults(version, action, kind, payload, 0).faults
    if found:
        return violation(found[0])
    # jsonschema-rs refuses to descend without end.
    return Violation(ErrorCode.FORMAT_VIOLATION, "", "payload is nested too deeply")


def is_valid(version: Version, action: str, kind: Kind, payload: Payload) -> bool:
    """Whether ``payload`` conforms; the fast path, below a microsecond for most messages."""
    try:
        check = _checks[version][kind][action]
    except KeyError:
        load(version)
        check = _checks[version][kind][action]
    try:
        return check(payload)
    except ValueError:
        return False


def faults(
    version: Version, action: str, kind: Kind, payload: Payload, most: int, *, nulls: bool = False
) -> Found:
    """Return the faults, and no more once there are more than ``most``, see :meth:`Walk.faults`."""
    return _walk(version, action, kind).faults(payload, most, nulls=nulls)


def _walk(version: Version, action: str, kind: Kind) -> Walk:
    walk = _walks.get((version, action, kind))
    if walk is None:
        walk = _walks[version, action, kind] = Walk(_schema(version, files(version, action)[kind]))
    return walk


def _compile(version: Version) -> dict[Kind, dict[str, Callable[[Any], bool]]]:
    compiled: dict[Kind, dict[str, Callable[[Any], bool]]] = {"request": {}, "response": {}}
    for action in ROUTES[version]:
        for kind, name in files(version, action).items():
            # From draft 6 on 1.0 is an integer, and the reader would hand on a float; what differs else is not used.
            schema = jsonschema_rs.Draft4Validator(_schema(version, name), validate_formats=True)
            compiled[kind][action] = schema.is_valid
    return compiled


def _schema(version: Version, name: str) -> dict[str, Any]:
    source = resources.files("ocpp").joinpath(_FOLDERS[version], "schemas", name)
    schema: dict[str, Any] = orjson.loads(source.read_bytes())
    return schema
