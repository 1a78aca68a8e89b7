"""Histories as chargers told them, and the records that they lead to: `golden/*.yaml`, at 45.5 cents per kWh."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected, SessionEnded
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told

FILES = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
PASSES = {"two days pass": 2 * DAY, "ten days pass": 10 * DAY}
MESSAGE = re.compile(
    r"(?P<time>\d\d:\d\d) (?P<kind>\w+) (?P<tx>[-\w]+)( seq (?P<seq>\d+))?(, register (?P<wh>\d+))?(, (?P<state>\w+))?"
)


def moment(time: str) -> int:
    hours, minutes = map(int, time.split(":"))
    return NOON + (hours - 12) * HOUR + minutes * MINUTE


def message(text: str, number: int, now: int) -> OcppCallReceived:
    found = MESSAGE.fullmatch(text)
    assert found is not None, text
    at, wh, tx = moment(found["time"]), int(found["wh"]), found["tx"]
    more: dict[str, Any] = {"event": str(number), "recorded_at": max(now, at + SECOND)}
    match found["kind"]:
        case "start":
            return start16(int(tx), at, wh, **more)
        case "sample":
            return meter16(int(tx), at, wh, **more)
        case "stop":
            return stop16(int(tx), at, wh, **more)
        case kind:
            return event2(kind, tx, int(found["seq"]), at, wh, state=found["state"], **more)


def clock(at: int) -> str:
    days, rest = divmod(at - NOON + 12 * HOUR, DAY)
    text = f"{rest // HOUR:02}:{rest % HOUR // MINUTE:02}"
    return f"{text} +{days} d" if days else text


def told_by(records: list[Record]) -> Iterator[str]:
    for record in records:
        match record:
            case SessionEnded() | SessionCorrected():
                name = "ended" if isinstance(record, SessionEnded) else f"corrected ({record.version})"
                spent = f"{record.charging_s} s charging, {record.suspended_s} s suspended, {record.idle_s} s idle"
                yield (
                    f"session {record.transaction_id} {name}: {clock(record.started_at)} to {clock(record.ended_at)}, "
                    f"{record.energy_wh} Wh = {record.billed_wh} billed + {record.review_wh} in review; {spent}; "
                    f"review: {', '.join(record.review) or 'none'}"
                )
            case CdrIssued() | CdrCredited():
                name = "charge" if isinstance(record, CdrIssued) else "credit note over"
                yield (
                    f"{name} {record.transaction_id} version {record.version}: "
                    f"{record.billed_wh} Wh, {record.amount_minor / 100:.2f} {record.currency}"
                )
            case _:
                pass


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_history(path: Path) -> None:
    history = yaml.safe_load(path.read_text())
    told, now = Told(), NOON
    for number, text in enumerate(history["messages"]):
        if text in PASSES:
            now += PASSES[text]
            told.runtime.tick(now)
        else:
            each = message(text, number, now)
            now = max(now, each.recorded_at)
            told.tell(each)
    assert list(told_by(told.records())) == history["records"]
    previous = ""
    for document in told.documents:
        assert document.previous_hash == previous
        previous = document.hash
