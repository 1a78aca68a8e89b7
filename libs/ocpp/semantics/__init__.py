"""The version-free meaning of OCPP: charger messages to facts, intentions to commands, results to verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final

from libs.ocpp.semantics import v2, v2_reports, v16, v21
from libs.ocpp.semantics.model import SemanticEvent
from libs.ocpp.versions import Version

READERS: Final[Mapping[Version, Mapping[str, v16.CallReader]]] = {
    Version.V16: v16.READERS,
    Version.V201: {**v2.READERS, **v2_reports.READERS},
    Version.V21: {**v2.READERS, **v2_reports.READERS, **v21.READERS},
}
STEPS: Final[Mapping[Version, Mapping[str, v16.StepReader]]] = {
    Version.V16: v16.STEPS,
    Version.V201: v2.STEPS,
    Version.V21: v2.STEPS,
}
"""Of the messages that are steps of transactions: what reads nothing but the step, its meter values being read."""

NO_ANSWER: Final[Mapping[str, Any]] = {}


def read_call(
    version: Version,
    action: str,
    payload: Mapping[str, Any],
    answer: Mapping[str, Any] | None,
    received_at: int,
    *,
    zone: tzinfo = UTC,
) -> list[SemanticEvent]:
    """Return what a station's CALL (or SEND) and our answer to it mean; nothing for most actions.

    ``payload`` must have passed ``libs.ocpp.inbound.check_call``; ``answer`` is the CALLRESULT's payload, or
    ``None`` if there was none. ``received_at`` is our clock, in microseconds; ``zone`` is where the
    charger's zoneless timestamps are. Pure: the same arguments give the same events.
    """
    reader = READERS[version].get(action)
    if reader is None:
        return []
    return reader(payload, NO_ANSWER if answer is None else answer, received_at, zone)
