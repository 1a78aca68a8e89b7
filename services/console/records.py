"""Charge records as they were issued, with all that they were made from."""

from typing import Final

from libs.events.sessions import CdrIssued
from services.api.rows import record_of
from services.console.web.visit import Visit

_MOST_DOCUMENTS: Final = 1_000


async def charge_record(visit: Visit, session_id: str) -> CdrIssued | None:
    """The newest version of a session's charge record, or None."""
    rows = await visit.api.history.documents({"session_id": session_id}, -1, _MOST_DOCUMENTS)
    issued = [record_of(CdrIssued, row) for row in rows if row["_type"] == CdrIssued.__name__]
    return max(issued, key=lambda each: each.version, default=None)
