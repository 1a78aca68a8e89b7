"""What our own calls brought to light: `OcppCallSent` records to events."""

from __future__ import annotations

import orjson

from libs.events.ocpp_log import CallOutcome, OcppCallSent
from libs.ocpp.inbound import CheckedCall, check_result
from libs.ocpp.semantics.reports import Report
from libs.ocpp.semantics.results import read_error, read_result
from libs.ocpp.versions import Version


def read_sent(record: OcppCallSent) -> list[Report]:
    """Return what the charger's answer tells of it: nothing if there is none, or one that cannot be read."""
    match record.outcome:
        case CallOutcome.RESULT if record.result is not None:
            version = Version(record.version)
            checked = check_result(version, record.action, orjson.loads(record.result))
            if not isinstance(checked, CheckedCall):
                return []
            payload = orjson.loads(record.payload)
            return read_result(version, record.action, payload, checked.payload, record.recorded_at)
        case CallOutcome.ERROR if record.error is not None:
            payload = orjson.loads(record.payload)
            return read_error(record.action, payload, record.error.code, record.recorded_at)
        case _:
            return []
