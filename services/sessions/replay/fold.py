"""The sessions processor over messages of the past. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Tables, advance, ticks_until
from libs.events.decisions import SessionDecided, SessionRecalled
from libs.events.record import Record
from libs.events.sessions import CdrIssued
from services.sessions.domain.decisions import decided, evidence_of, refusal
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.session import Session
from services.sessions.domain.station import StationSessions


class Fold:
    """One processor with the states of its stations.

    `failed`: messages that the processor could not handle; they change nothing, as in the running one.
    """

    def __init__(self, processor: SessionsProcessor, tables: Mapping[str, Mapping[str, Record]]) -> None:
        self._processor = processor
        self._tables: Tables = {topic: tables.get(topic, {}) for topic in processor.tables}
        self._states: dict[str, StationSessions] = {}
        self._decided: dict[str, Session] = {}
        self.failed = 0

    def handle(self, message: Message) -> list[CdrIssued]:
        """Fold one message; returns the charge records that it led to."""
        key = self._processor.key(message)
        if key is None:
            return []
        try:
            step = advance(self._processor, self._states.get(key), message, self._tables)
        # Whatever the processor raises sends the message to dead letters there.
        except Exception:
            self.failed += 1
            return []
        return self._take(key, step.state, step.out)

    def pass_time(self, now: int) -> list[CdrIssued]:
        """Let everything happen that is due by `now`; returns the charge records that this led to."""
        issued: list[CdrIssued] = []
        for key in list(self._states):
            out: list[Emit] = []
            state = ticks_until(self._processor, self._states[key], now, self._tables, out)
            issued += self._take(key, state, out)
        return issued

    def session(self, station_id: str, session_id: str) -> Session | None:
        """The session, if it is remembered."""
        state = self._states.get(station_id)
        if state is None:
            return None
        return next((s for s in (*state.closed, *state.open) if s.session_id == session_id), None)

    def known(self, station_id: str, session_id: str) -> Session | None:
        """The session, if it is remembered; else, if it was decided about, as it was then: it may have waited for the
        decision alone, and was forgotten with that."""
        return self.session(station_id, session_id) or self._decided.get(session_id)

    def decide(self, message: Message) -> list[CdrIssued]:
        """Follow an operator's decision about the session, in whichever version its charge record is here.

        Nothing comes of it if the session is not remembered.
        """
        record = message.record
        assert isinstance(record, SessionDecided)
        session = self.session(record.station_id, record.session_id)
        if session is None or not session.revision:
            return []
        fitted = msgspec.structs.replace(record, version=session.revision)
        own = msgspec.structs.replace(message, record=fitted)
        if not refusal(session, fitted):
            self._decided[record.session_id] = decided(session, own)
        return self.handle(own)

    def recall(self, message: Message, kept: Session) -> list[CdrIssued]:
        """Remember `kept` again; nothing comes of it if the session still is."""
        record = message.record
        assert isinstance(record, SessionRecalled)
        if self.session(record.station_id, record.session_id) is not None:
            return []
        return self.handle(msgspec.structs.replace(message, record=evidence_of(record, kept)))

    def _take(self, key: str, state: StationSessions | None, out: Iterable[Emit]) -> list[CdrIssued]:
        if state is None:
            self._states.pop(key, None)
        else:
            self._states[key] = state
        return [emit.record for emit in out if isinstance(emit.record, CdrIssued)]
