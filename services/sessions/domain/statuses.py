"""What OCPP 1.6 tells of a transaction beside its own messages: the statuses of its connector, and boots. Pure.

They come by another topic than transactions, so that either may be first. Therefore the last statuses of each connector
are remembered for a while, whether or not a session is known, and a session that begins takes those that are its own.
A status that repeats the one before does not keep a session waiting longer.

2.x tells the same with the transaction itself (chargingState); its connectors are only occupied or not.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import tzinfo
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp import quirks
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.semantics.model import ConnectorStatusReported
from libs.ocpp.semantics.received_calls import read_exchange
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND
from services.sessions.domain import states
from services.sessions.domain.origin import Source
from services.sessions.domain.session import Session, credible
from services.sessions.domain.states import STATUSES

KEPT: Final = 24 * 3600 * SECOND
"""How long a status is remembered for a session that may begin."""
MOST_OF_CONNECTOR: Final = 24
MOST_OF_STATION: Final = 96

AS_CHARGING_STATE: Final = {
    "Preparing": "EVConnected",
    "Charging": "Charging",
    "SuspendedEV": "SuspendedEV",
    "SuspendedEVSE": "SuspendedEVSE",
    "Faulted": "SuspendedEVSE",
    "Finishing": "EVConnected",
    "Available": "Idle",
}
"""Connector statuses of 1.6 in the words of 2.x (ChargingStateEnumType)."""

_WORDS: Final = tuple(STATUSES)
_CLOCK_QUIRKS: Final = frozenset({quirks.TIMESTAMP_OUT_OF_BOUNDS, quirks.TIMESTAMP_UNREADABLE})
_ENTRY: Final = Struct("<iqBqq")
_MOST_CONNECTOR: Final = 2**31 - 1


class Status(NamedTuple):
    """What a connector was at the charger's moment `at`; `offset` is that of the record in the log.

    `code` is that of `STATUSES`, `word` the number of the status in it.
    """

    connector_id: int
    at: int
    word: int
    recorded_at: int
    offset: int

    @property
    def name(self) -> str:
        """As the charger said it."""
        return _WORDS[self.word]

    @property
    def code(self) -> int:
        """What it tells of the vehicle."""
        return STATUSES[self.name]


def tells(record: OcppCallReceived) -> bool:
    """Whether the exchange is a status of OCPP 1.6, or a boot."""
    action = record.action
    return action == "BootNotification" or (action == "StatusNotification" and record.version == Version.V16)


def read(record: OcppCallReceived, offset: int, zone: tzinfo, book: RuleBook | None) -> Status | None:
    """The status that the exchange tells of; None if it says nothing of a vehicle, or at no known moment.

    Connector 0 is the station. Raises ValueError for a payload that cannot be read.
    """
    for event in read_exchange(record, zone, book):
        if isinstance(event, ConnectorStatusReported):
            known = event.status in STATUSES and 0 < event.connector_id <= _MOST_CONNECTOR
            if known and _CLOCK_QUIRKS.isdisjoint(event.quirks):
                word = _WORDS.index(event.status)
                return Status(event.connector_id, event.at, word, record.recorded_at, offset)
    return None


def joined(told: bytes, status: Status) -> bytes:
    """The statuses of a station with another one; the same object if that is known."""
    known = [each for each in _unpacked(told) if each.recorded_at > status.recorded_at - KEPT]
    index = bisect_left(known, status[:3])
    if index < len(known) and known[index][:3] == status[:3]:
        return told
    known.insert(index, status)
    return _packed(_bounded(known, status.connector_id))


def repeats(told: bytes, status: Status) -> bool:
    """Whether the status is the same as the one before it."""
    before = [s for s in _unpacked(told) if s.connector_id == status.connector_id and s[1:3] < status[1:3]]
    return bool(before) and before[-1].word == status.word


def seen(session: Session, told: bytes, status: Status) -> Status | None:
    """The status at its moment in the session; None if it does not tell of it. `told`: the station's statuses."""
    if session.evse_id != status.connector_id:
        return None
    mine = _dated(session, status)
    own = _of_connector(session, told, status.connector_id)
    following_at = min([each.at for each in own if each[1:3] > mine[1:3]], default=None)
    return mine if _of_session(session, mine, following_at) else None


def _of_connector(session: Session, told: bytes, connector_id: int | None) -> list[Status]:
    return sorted(_dated(session, each) for each in _unpacked(told) if each.connector_id == connector_id)


def _dated(session: Session, status: Status) -> Status:
    return status._replace(at=credible(session, status.at, status.recorded_at))


def expiry(told: bytes) -> int | None:
    """When the last one is forgotten; None if there is none."""
    return max([each.recorded_at for each in _unpacked(told)]) + KEPT if told else None


def unexpired(told: bytes, at: int) -> bytes:
    """Those that are remembered at `at`."""
    return _packed([each for each in _unpacked(told) if each.recorded_at + KEPT > at]) if told else told


def absorbed(session: Session, status: Status, source: Source, *, repeated: bool) -> Session:
    """`session` with a status of its connector joined to it; the same object if that is known."""
    news = _news(session, status)
    if news and not repeated:
        news["cause_id"], news["recorded_at"] = source.event_id, source.recorded_at
    return msgspec.structs.replace(session, **news) if news else session


def adopted(session: Session, told: bytes) -> Session:
    """`session` with all that was told of its connector before it was known."""
    if session.version != Version.V16 or not told:
        return session
    own = _of_connector(session, told, session.evse_id)
    for index, status in enumerate(own):
        following_at = own[index + 1].at if index + 1 < len(own) else None
        if _of_session(session, status, following_at) and (news := _news(session, status)):
            session = msgspec.structs.replace(session, **news)
    return session


def booted(session: Session, source: Source) -> Session:
    """`session` whose station started anew; the same object if that says nothing new of it."""
    at = source.recorded_at
    if at <= session.recorded_at or abandoned(session) or at <= session.latest_at:
        return session
    return msgspec.structs.replace(session, cause_id=source.event_id, recorded_at=at, booted_at=at)


def abandoned(session: Session) -> bool:
    """Whether there is evidence that a transaction is over whose stop has not come: after the last that it told, its
    connector was there for another vehicle (1.6), or the station started anew."""
    last = states.last_told(session.states)
    if last is not None and last[0] > session.latest_at and last[1] in (states.PREPARING, states.GONE):
        return True
    if session.booted_at is None or session.booted_at <= session.latest_at:
        return False
    return last is None or last[0] <= session.booted_at


def _of_session(session: Session, status: Status, following_at: int | None) -> bool:
    """Whether the status tells of the session, be it as the last before it began. `following_at`: when the connector's
    next one was.

    Of a session without stop that was closed by a rule only what lies within it: what came later may be another's.
    """
    if session.version != Version.V16 or session.evse_id != status.connector_id:
        return False
    begun = session.earliest_at if session.started_at is None else session.started_at
    ended = session.stopped_at
    if ended is None and session.closed_by_rule:
        ended = session.latest_at
    if session.until is not None and (ended is None or session.until < ended):
        ended = session.until
    if ended is not None and status.at >= ended:
        return False
    return status.at >= begun or following_at is None or following_at > begun


def _news(session: Session, status: Status) -> dict[str, Any]:
    joined_states = states.join(session.states, status.at, status.code)
    if joined_states is session.states:
        return {}
    news: dict[str, Any] = {"states": joined_states}
    if session.state_at is None or status.at >= session.state_at:
        news["charging_state"], news["state_at"] = AS_CHARGING_STATE[status.name], status.at
    if session.first_status < 0 or status.offset < session.first_status:
        news["first_status"] = status.offset
    if status.offset > session.last_status:
        news["last_status"] = status.offset
    return news


def _bounded(known: list[Status], connector_id: int) -> list[Status]:
    """Of a connector with too many the inner ones of a row of equals go, then the oldest; so do those of a station."""
    own = [status for status in known if status.connector_id == connector_id]
    if len(own) > MOST_OF_CONNECTOR:
        last = len(own) - 1
        edges = [
            status
            for index, status in enumerate(own)
            if index in {0, last} or not own[index - 1].word == status.word == own[index + 1].word
        ]
        kept = set(edges[-MOST_OF_CONNECTOR:])
        known = [status for status in known if status.connector_id != connector_id or status in kept]
    if len(known) > MOST_OF_STATION:
        newest = set(sorted(known, key=lambda status: (status.recorded_at, status))[-MOST_OF_STATION:])
        known = [status for status in known if status in newest]
    return known


def _unpacked(told: bytes) -> list[Status]:
    return [Status._make(each) for each in _ENTRY.iter_unpack(told)]


def _packed(known: list[Status]) -> bytes:
    return b"".join([_ENTRY.pack(*each) for each in known])
