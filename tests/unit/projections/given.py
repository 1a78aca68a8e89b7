"""Records of sessions and stations as the log has them, made from the contract's examples."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from libs.events.contract import ROOT
from libs.events.ids import derive_id
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.sessions import (
    CdrCredited,
    CdrIssued,
    SessionCorrected,
    SessionEnded,
    SessionReopened,
    SessionStarted,
    SessionUpdated,
)
from libs.events.telemetry import StationStateChanged
from libs.runtime.clock import SECOND

R = TypeVar("R", bound=Record)
BEGUN = 1_790_000_000 * SECOND


def example(kind: type[R], name: str, **changed: Any) -> R:
    path = ROOT / "examples" / kind.__name__ / f"{name}.json"
    record = msgspec.json.decode(path.read_bytes(), type=kind)
    return msgspec.structs.replace(record, **changed)


class Told:
    """What the sessions processor tells of one session, `second` seconds after its begin."""

    def __init__(self, name: str = "a", station_id: str = "CP-1") -> None:
        session_id = derive_id(name, "session")
        self._of = {"station_id": station_id, "session_id": session_id, "started_at": BEGUN}
        self._name = name

    def started(self, second: int = 0) -> SessionStarted:
        return self._made(SessionStarted, "by-card", second, meter_start_wh=100)

    def updated(self, second: int, wh: int, revision: int = 0) -> SessionUpdated:
        return self._made(
            SessionUpdated, "charging", second, energy_wh=wh, meter_wh=100 + wh, revision=revision
        )

    def reopened(self, second: int, wh: int, revision: int) -> SessionReopened:
        return self._made(
            SessionReopened, "after-a-week", second, energy_wh=wh, meter_wh=100 + wh, revision=revision
        )

    def ended(self, second: int, wh: int, **more: Any) -> SessionEnded:
        return self._made(SessionEnded, "complete", second, **_whole(second, wh), **more)

    def corrected(self, second: int, wh: int, version: int) -> SessionCorrected:
        return self._made(SessionCorrected, "late-reading", second, **_whole(second, wh), version=version)

    def issued(self, second: int, wh: int, version: int = 1, **more: Any) -> CdrIssued:
        charged = {"amount_minor": wh // 10, "net_minor": wh // 10, "tax_minor": 0, "version": version}
        return self._made(CdrIssued, "flat-tariff", second, **_whole(second, wh), **charged, **more)

    def credited(self, second: int, wh: int, version: int = 1) -> CdrCredited:
        charged = {"amount_minor": -wh // 10, "net_minor": -wh // 10, "version": version}
        return self._made(CdrCredited, "version-1", second, **_whole(second, -wh), **charged)

    def _made(self, kind: type[R], name: str, second: int, **changed: Any) -> R:
        at = BEGUN + second * SECOND
        fields = {**self._of, **changed}
        if "cdr_id" in kind.__struct_fields__:
            fields["cdr_id"] = derive_id(self._name, "cdr")
        known = {field: value for field, value in fields.items() if field in kind.__struct_fields__}
        event_id = derive_id(self._name, f"{kind.__name__}:{second}")
        return example(kind, name, **known, event_id=event_id, occurred_at=at, recorded_at=at)


def _whole(second: int, wh: int) -> dict[str, Any]:
    return {
        "ended_at": BEGUN + second * SECOND,
        "meter_start_wh": 100,
        "meter_stop_wh": 100 + wh,
        "energy_wh": wh,
        "billed_wh": wh,
    }


def state_changed(second: int, *, connected: bool = True, station_id: str = "CP-1") -> StationStateChanged:
    at = BEGUN + second * SECOND
    event_id = derive_id(station_id, f"state:{second}")
    return example(
        StationStateChanged, "charging", event_id=event_id, station_id=station_id, connected=connected,
        occurred_at=at, recorded_at=at,
    )  # fmt: skip


def registered(second: int, station_id: str = "CP-1") -> StationRegistered:
    at = BEGUN + second * SECOND
    event_id = derive_id(station_id, f"registered:{second}")
    return example(
        StationRegistered, "two-sites-in-time", event_id=event_id, station_id=station_id,
        occurred_at=at, recorded_at=at,
    )  # fmt: skip
