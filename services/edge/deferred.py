"""Calls whose answer a processor decides: which ones, for how long, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from libs.events.commands import AnswerCall
from libs.events.ids import derive_id
from libs.events.ocpp_log import AnswerSource, CallError, OcppCallAnswered, OcppCallReceived
from libs.ocpp import schemas
from libs.ocpp.errors import ErrorCode, canonical
from libs.ocpp.frames import Received
from libs.ocpp.routing import ROUTES
from libs.ocpp.versions import Version
from libs.runtime.logging import get_logger
from services.edge import metrics

log = get_logger(__name__)

_LONGEST_S: Final = 60.0
_MEANWHILE: Final = 4
_ANSWER: Final = re.compile(rb"\s*\[\s*[34]\s*,")
_VERSIONS: Final = {str(version): version for version in Version}
_CODES: Final = frozenset(map(str, ErrorCode))

# What a processor says of a transaction is added to what the edge says of the token.
_ADDED: Final = frozenset({"TransactionEvent"})


class Deferral(NamedTuple):
    """Which calls of an action wait: those with `field` (None: all), and with `value` in it (None: any); how long."""

    field: str | None
    value: str | None
    wait_s: float


Deferrals = Mapping[str, tuple[Deferral, ...]]
"""By action; the first that fits counts."""


def parse_deferrals(text: str | Deferrals) -> Deferrals:
    """`Action:seconds`, `Action.field:seconds` or `Action.field=value:seconds`, separated by commas.

    Raises ValueError for what is none of these.
    """
    if not isinstance(text, str):
        return text
    found: dict[str, list[Deferral]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, seconds = part.partition(":")
        action, _, condition = name.partition(".")
        field, _, value = condition.partition("=")
        if not any(action in routes and routes[action].deferred for routes in ROUTES.values()):
            raise ValueError(f"{action!r} is no action whose answer can be deferred")
        try:
            wait_s = float(seconds)
        except ValueError:
            raise ValueError(f"{part!r} is not written Action:seconds") from None
        if not 0 < wait_s <= _LONGEST_S:
            raise ValueError(f"{part!r}: an answer is waited for up to {_LONGEST_S:g} seconds")
        found.setdefault(action, []).append(Deferral(field or None, value or None, wait_s))
    return {action: tuple(entries) for action, entries in found.items()}


def wait_for(deferrals: Deferrals, action: str, payload: Mapping[str, Any]) -> float | None:
    """For how many seconds the answer to a call is left to a processor; None if the edge answers at once."""
    for field, value, wait_s in deferrals.get(action, ()):
        if field is None or (field in payload if value is None else payload.get(field) == value):
            return None if _too_late_for_anybody(payload) else wait_s
    return None


def _too_late_for_anybody(payload: Mapping[str, Any]) -> bool:
    """Whether a transaction ended while the station was offline: nobody stands there and waits for an answer."""
    return payload.get("eventType") == "Ended" and payload.get("offline") is True


def pending(record: OcppCallReceived, slot: int) -> OcppCallReceived:
    """The record of a call that is not answered yet; its answer is awaited at `slot`."""
    return msgspec.structs.replace(record, answer=None, pending=True, slot=slot)


def answers_us(frame: bytes) -> bool:
    """Whether a frame is (at a glance) the answer to a CALL of ours, which need not wait for a call of theirs."""
    return _ANSWER.match(frame) is not None


class Decision(msgspec.Struct, frozen=True):
    """What a station is answered: `payload`, or an error."""

    source: AnswerSource
    payload: dict[str, Any]
    error: CallError | None = None


class DeferredCall:
    """A call that waits for a processor's word. The first fitting answer counts.

    `meanwhile`: what came of the station in this time and has to be looked at afterwards, in order.
    """

    def __init__(self, record: OcppCallReceived, fallback: dict[str, Any]) -> None:
        self.record = record
        self.meanwhile: list[tuple[Received, bytes]] = []
        self._fallback = fallback
        self._decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

    @property
    def crowded(self) -> bool:
        """Whether `meanwhile` is full."""
        return len(self.meanwhile) >= _MEANWHILE

    def offer(self, answer: AnswerCall) -> None:
        """Take an answer for this connection; one that is late, or does not fit, changes nothing."""
        record = self.record
        if self._decided.done() or (answer.cause_id, answer.message_id) != (
            record.event_id,
            record.message_id,
        ):
            drop(answer, "late")
            return
        try:
            decision = _decision(_VERSIONS[record.version], record.action, answer, self._fallback)
        except ValueError as error:
            drop(answer, "invalid", str(error))
            return
        self._decided.set_result(decision)

    async def decision(self, wait_s: float, lost: asyncio.Event) -> Decision | None:
        """The answer within `wait_s`, else the fallback; None once `lost` is set."""
        losing = asyncio.create_task(lost.wait())
        either: set[asyncio.Future[Any]] = {self._decided, losing}
        try:
            await asyncio.wait(either, timeout=max(wait_s, 0), return_when=asyncio.FIRST_COMPLETED)
            if not self._decided.done():
                if lost.is_set():
                    metrics.DEFERRED.labels(self.record.action, "lost").inc()
                    return None
                self._decided.set_result(Decision(AnswerSource.FALLBACK, self._fallback))
            decision = self._decided.result()
            metrics.DEFERRED.labels(self.record.action, decision.source).inc()
            return decision
        finally:
            losing.cancel()


def answered(record: OcppCallReceived, decision: Decision, now: int) -> OcppCallAnswered:
    """The record of a pending call's answer; `now` in microseconds."""
    answer = orjson.dumps(decision.payload).decode() if decision.error is None else None
    return OcppCallAnswered(
        event_id=derive_id(record.event_id, "answered"),
        occurred_at=now,
        recorded_at=now,
        cause_id=record.event_id,
        station_id=record.station_id,
        connection_epoch=record.connection_epoch,
        edge_id=record.edge_id,
        version=record.version,
        message_id=record.message_id,
        action=record.action,
        answer=answer,
        error=decision.error,
        source=decision.source,
    )


def drop(answer: AnswerCall, reason: str, detail: str = "") -> None:
    """Count an answer that no station gets."""
    metrics.ANSWERS_DROPPED.labels(reason).inc()
    log.info(
        "answer_dropped", reason=reason, detail=detail, station_id=answer.station_id, call_id=answer.cause_id
    )


def _decision(version: Version, action: str, answer: AnswerCall, fallback: dict[str, Any]) -> Decision:
    if answer.error is not None:
        return Decision(AnswerSource.PROCESSOR, {}, _checked_error(answer.error))
    if answer.answer is None:
        raise ValueError("neither answer nor error")
    payload = orjson.loads(answer.answer)
    if not isinstance(payload, dict):
        raise ValueError("the answer is not an object")
    if action in _ADDED:
        payload = fallback | payload
    violation = schemas.validate(version, action, "response", payload)
    if violation is not None:
        raise ValueError(f"{violation.path or '/'}: {violation.message}")
    return Decision(AnswerSource.PROCESSOR, payload)


def _checked_error(error: CallError) -> CallError:
    if canonical(error.code) not in _CODES:
        raise ValueError("no OCPP error code")
    if not isinstance(orjson.loads(error.details), dict):
        raise ValueError("error details are an object")
    return error
