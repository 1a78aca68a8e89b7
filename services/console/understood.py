"""What a message says beside how it was sent: faults, repairs, meaning, and the message as a test case. Pure."""

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

import msgspec
import orjson

from libs.events.ocpp_log import CallError, FrameRejected, OcppCallReceived, OcppCallSent
from libs.events.record import Record
from libs.ocpp import schemas
from libs.ocpp.errors import ErrorCode, spell
from libs.ocpp.frames import CALL
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES
from libs.ocpp.schemas import Violation
from libs.ocpp.secrets import MASK, with_secrets_changed, without_secrets
from libs.ocpp.semantics.received_calls import read_exchange, read_payload
from libs.ocpp.versions import known_version
from libs.runtime.clock import iso
from services.console.differences import Difference, differences

_MOST_FAULTS: Final = 50
_CALL_PARTS: Final = 4
_TOKENS: Final = frozenset({"idtag", "parentidtag", "idtoken", "groupidtoken", "additionalidtoken"})

Masker = Callable[[str], str]


class Understood(msgspec.Struct, frozen=True):
    """A message. `raw`: its payload, or its frame, as it was sent. `faults`: where it breaks OCPP's schema.

    `repairs`: what had to be changed to read it; `quirks`: the names of these. `events`: what it means, JSON-like.
    `unread`: why it cannot be read; "" if it can.
    """

    raw: str
    faults: tuple[Violation, ...] = ()
    repairs: tuple[Difference, ...] = ()
    quirks: tuple[str, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    unread: str = ""


def understood(record: Record, zone: tzinfo) -> Understood:
    """What a message of the log says; `zone`: where the charger's local times are."""
    match record:
        case OcppCallReceived():
            return _received(record, zone)
        case OcppCallSent():
            return Understood(record.payload, _faults(record.version, record.action, record.payload))
        case FrameRejected():
            return Understood(record.frame, _faults_of_frame(record), unread=record.reason)
    return Understood("")


def _received(record: OcppCallReceived, zone: tzinfo) -> Understood:
    faults = _faults(record.version, record.action, record.payload)
    try:
        sent = orjson.loads(record.payload)
        payload, quirks = read_payload(record, zone)
        events = msgspec.to_builtins(read_exchange(record, zone))
    # Whatever a charger sent, its message is shown.
    except (ValueError, KeyError, TypeError) as error:
        return Understood(record.payload, faults, quirks=record.quirks, unread=str(error))
    return Understood(record.payload, faults, tuple(differences(sent, payload)), quirks, tuple(events))


def _faults(version: str, action: str, payload: str) -> tuple[Violation, ...]:
    known = known_version(version)
    if known is None or action not in ROUTES[known]:
        return ()
    try:
        read = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return (Violation(ErrorCode.FORMAT_VIOLATION, "", str(error)),)
    if not isinstance(read, dict):
        return ()
    if schemas.is_valid(known, action, "request", read):
        return ()
    found = schemas.faults(known, action, "request", read, _MOST_FAULTS).faults
    return tuple(schemas.violation(each) for each in found[:_MOST_FAULTS])


def _faults_of_frame(record: FrameRejected) -> tuple[Violation, ...]:
    try:
        frame = orjson.loads(record.frame)
    except orjson.JSONDecodeError:
        return ()
    match frame:
        case [_, _, str(action), dict(payload)]:
            return _faults(record.version, action, orjson.dumps(payload).decode())
    return ()


def as_test_case(record: OcppCallReceived | OcppCallSent, zone: tzinfo, *, tokens: bool) -> dict[str, Any]:
    """The message as tests of this repository say one: version, action, payload, answer.

    Of a charger's message `example` is beside it, an entry for the `examples` of a quirk rule. Secrets are masked, and
    id tokens unless `tokens`: equal ones stay equal.
    """
    mask = _same if tokens else _aliases()
    payload = _masked(record, orjson.loads(record.payload), mask)
    result = record.answer if isinstance(record, OcppCallReceived) else record.result
    answer = None if result is None else _answer(record, orjson.loads(result), mask)
    told: dict[str, Any] = {
        "version": record.version,
        "action": record.action,
        "direction": "from station" if isinstance(record, OcppCallReceived) else "to station",
        "payload": payload,
        "answer": answer,
        "error": None if record.error is None else _error(record.error),
    }
    if isinstance(record, OcppCallReceived):
        told["example"] = _example(record, payload, answer, zone)
    return told


def _example(
    record: OcppCallReceived, payload: dict[str, Any], answer: dict[str, Any] | None, zone: tzinfo
) -> dict[str, Any] | None:
    version = known_version(record.version)
    if version is None:
        return None
    checked = check_call(version, record.action, payload)
    told = {
        "version": record.version,
        "vendor": record.vendor,
        "model": record.model,
        "firmware": record.firmware,
        "received_at": iso(record.recorded_at),
        "zone": getattr(zone, "key", "UTC"),
        "frame": orjson.dumps([CALL, record.message_id, record.action, payload]).decode(),
    }
    if not isinstance(checked, CheckedCall):
        return {**told, "refused": spell(version, checked.code)}
    masked = msgspec.structs.replace(
        record,
        payload=orjson.dumps(payload).decode(),
        answer=None if answer is None else orjson.dumps(answer).decode(),
    )
    events = msgspec.to_builtins(read_exchange(masked, zone))
    return {**told, "quirks": list(checked.quirks), "answer": answer, "events": events}


def _masked(record: OcppCallReceived | OcppCallSent, payload: dict[str, Any], mask: Masker) -> dict[str, Any]:
    if isinstance(record, OcppCallSent):
        payload = with_secrets_changed(record.action, payload, lambda _: MASK)
    masked: dict[str, Any] = _without_tokens(payload, mask)
    return masked


def _answer(record: OcppCallReceived | OcppCallSent, answer: Any, mask: Masker) -> Any:
    if isinstance(record, OcppCallSent) and isinstance(answer, dict):
        answer = without_secrets(record.action, answer)
    return _without_tokens(answer, mask)


def _error(error: CallError) -> dict[str, Any]:
    return {"code": error.code, "description": error.description, "details": orjson.loads(error.details)}


def _without_tokens(value: Any, mask: Masker) -> Any:
    if isinstance(value, list):
        return [_without_tokens(each, mask) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: mask(inner)
        if isinstance(inner, str) and name.casefold() in _TOKENS
        else _without_tokens(inner, mask)
        for name, inner in value.items()
    }


def _same(token: str) -> str:
    return token


def _aliases() -> Masker:
    """Gives each token a name of its own; case does not count."""
    known: dict[str, str] = {}
    return lambda token: known.setdefault(token.casefold(), f"TOKEN-{len(known) + 1}")
