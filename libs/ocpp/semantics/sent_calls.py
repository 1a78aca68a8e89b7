"""What the results of our calls mean: `OcppCallSent` records to events."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from libs.events.ocpp_log import CallOutcome, OcppCallSent
from libs.ocpp.errors import UNUSABLE_ANSWER, ErrorCode, canonical
from libs.ocpp.inbound import CheckedCall, check_result
from libs.ocpp.quirks.effects import flagged
from libs.ocpp.semantics.abilities import form_of, lacking_form, lacking_name, relevant_variables
from libs.ocpp.semantics.reports import ActionUnsupported, Report, VariablesReported
from libs.ocpp.semantics.results import (
    MAY_BE_UNSUPPORTED,
    Verdict,
    interpret_result,
    read_error,
    read_result,
)
from libs.ocpp.semantics.splitting import ITEMISED, items_in, single_item_limit
from libs.ocpp.versions import Version, known_version

# 2.0.1 part 2, ItemsPerMessage and BytesPerMessage: what a charger answers to more than that.
_TOO_LARGE: Final = frozenset({ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, ErrorCode.FORMAT_VIOLATION})
_QUESTIONS: Final = frozenset({"GetConfiguration", "GetVariables"})


def read_sent(record: OcppCallSent) -> list[Report]:
    """Return what the charger's answer tells of it.

    Nothing if there is none, one that cannot be read, or one of a version that only a newer release knows.
    """
    version = known_version(record.version)
    match record.outcome:
        case _ if version is None:
            return []
        case CallOutcome.RESULT if record.result is not None:
            checked = check_result(version, record.action, orjson.loads(record.result))
            if not isinstance(checked, CheckedCall):
                return []
            payload = orjson.loads(record.payload)
            events = read_result(version, record.action, payload, checked.payload, record.recorded_at)
            return [flagged(event, checked.quirks) for event in events] if checked.quirks else events
        case CallOutcome.ERROR if record.error is not None:
            payload = orjson.loads(record.payload)
            return read_error(record.action, payload, record.error.code, record.recorded_at)
        case _:
            return []


def read_verdict(record: OcppCallSent) -> tuple[Verdict, str]:
    """Return whether the charger agreed, and its word for it, where it has one, in the specification's spelling.

    Read from the result as `read_sent` reads it, corrected to its schema; where that is impossible the status counts.
    Raises ValueError for a result that says neither yes nor no (see `interpret_result`), or cannot be read.
    """
    return interpret_result(
        Version(record.version), record.action, _object(record.payload), _object(record.result or "")
    )


def read_unsupported(record: OcppCallSent) -> str | None:
    """Return what the charger says that it cannot do, as `Abilities.lacking` names it; None for most answers.

    That it rejects a charging profile may be for its kind or its unit, which another one would not have.
    """
    refused = record.outcome is CallOutcome.ERROR
    if not refused and (record.outcome is not CallOutcome.RESULT or record.action not in MAY_BE_UNSUPPORTED):
        return None
    lacks = (fact for fact in read_sent(record) if isinstance(fact, ActionUnsupported))
    lack = next((lacking_name(fact.action, fact.argument) for fact in lacks), None)
    if (
        lack is None
        and not refused
        and record.action == "SetChargingProfile"
        and read_verdict(record)[1] == "Rejected"
    ):
        form = form_of(_object(record.payload))
        return None if form is None else lacking_form(*form)
    return lack


def read_variables(record: OcppCallSent) -> dict[str, str]:
    """Return what the charger answered of its variables that decide how commands are put (see `relevant_variables`).

    Raises ValueError for a result that is not JSON.
    """
    if record.action not in _QUESTIONS:
        return {}
    facts = (fact for fact in read_sent(record) if isinstance(fact, VariablesReported))
    told = (seen for fact in facts for seen in fact.variables if seen.evse_id is None)
    return relevant_variables((seen.name, seen.value) for seen in told)


def read_item_limit(record: OcppCallSent) -> dict[str, str]:
    """Return the `single_item_limit` for a charger that refused several items in one message.

    Empty for any other answer. Of what it refused in this way nothing was done.
    """
    error = record.error
    if record.outcome is not CallOutcome.ERROR or error is None or error.details == UNUSABLE_ANSWER:
        return {}
    if canonical(error.code) not in _TOO_LARGE or read_items(record) < 2:
        return {}
    version = known_version(record.version)
    return {} if version is None else single_item_limit(version, record.action)


def read_items(record: OcppCallSent) -> int:
    """Return how many items our call was about; 0 for one that is about something else."""
    if record.action not in ITEMISED:
        return 0
    try:
        return items_in(record.action, _object(record.payload))
    except ValueError:
        return 0


def merge_results(first: str, second: str) -> str:
    """Return the results (JSON text) of two parts of a command as one.

    Lists are joined; of two statuses the first that is not Accepted counts.
    """
    one, other = _object(first), _object(second)
    for name, value in other.items():
        known = one.get(name)
        if isinstance(known, list) and isinstance(value, list):
            one[name] = [*known, *value]
        elif known in (None, "Accepted"):
            one[name] = value
    return msgspec.json.encode(one).decode()


def _object(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])
