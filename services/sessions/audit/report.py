"""What can be said about a charge record, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from libs.events.sessions import CdrIssued
from libs.tariffs.documents import render
from libs.tariffs.engine import terms_of
from services.sessions.audit.checks import Check, Document, Priced, exact_minor, recomputed, segments
from services.sessions.audit.text import REASONS, query_of


def reported(
    cdr: CdrIssued, documents: Sequence[Document], found: Sequence[Check], priced: Priced | None
) -> dict[str, Any]:
    """JSON-like values. `documents`: all of the session, in the order of issue; `found`: the checks."""
    made = None if priced is None else recomputed(cdr, priced)
    exact = [exact_minor(line) for line in cdr.lines]
    return {
        "record": msgspec.to_builtins(cdr),
        "verified": all(each.holds for each in found),
        "checks": [msgspec.to_builtins(each) for each in found],
        "segments": [msgspec.to_builtins(each) for each in segments(cdr)],
        "review": {each: REASONS.get(each, "") for each in cdr.review},
        "queries": [query_of(each, cdr.station_id) for each in cdr.sources],
        "tariff": None
        if priced is None
        else {"zone": priced.zone, "terms": render(terms_of(priced.version), priced.version.currency)},
        "lines": [
            {
                "exact_minor": None if exact[number] is None else str(exact[number]),
                "element": None if made is None else made.lines[number].element,
            }
            for number in range(len(cdr.lines))
        ],
        "documents": [{"type": type(each).__name__} | msgspec.to_builtins(each) for each in documents],
    }
