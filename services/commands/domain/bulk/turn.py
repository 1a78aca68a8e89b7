"""One event's work on a bulk command."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from libs.bus.message import Emit
from libs.events.bulk import (
    STOPPED_BY,
    BulkAction,
    BulkCommandProgressed,
    BulkStationProgressed,
    BulkStationStatus,
    BulkStatus,
    BulkTarget,
    RequestBulkCommand,
    SteerBulkCommand,
)
from libs.events.commands import RequestCommand
from libs.events.ids import derive_id
from libs.events.topics import COMMANDS_BULK_PROGRESS, COMMANDS_BULK_STATIONS, COMMANDS_REQUESTED
from libs.runtime.clock import SECOND
from services.commands.domain.bulk.bulk import (
    MARK_OF,
    MOST_BYTES,
    MOST_CONCURRENCY,
    MOST_MESSAGES,
    MOST_STATIONS,
    NO_MESSAGE,
    REMEMBERED_STEERING,
    UNSUCCESSFUL,
    Bulk,
    Flight,
    Mark,
)

GRACE: Final = 300 * SECOND
"""Beyond the time to wait for the station and for its answer: the ledger tells a fate long before."""
NO_WORD: Final = "no word from the command ledger"


class Turn:
    """One event's work: `bulk` and `out` grow as decisions are made at the moment `now`."""

    def __init__(self, bulk: Bulk, now: int, cause_id: str) -> None:
        self.bulk = bulk
        self.now = now
        self.cause_id = cause_id
        self.out: list[Emit] = []

    def count(self, told: BulkStationProgressed) -> None:
        """Take a station's fate, if it is that of the command that the station has, or was given up with."""
        bulk, mark = self.bulk, MARK_OF[told.status]
        if told.station_id not in bulk.stations:
            return
        place = bulk.stations.index(told.station_id)
        flight = next((each for each in bulk.flights if each.place == place), None)
        if flight is not None and told.command_id == command_id(bulk, flight.round, told.station_id):
            self._through(flight, mark)
        elif (
            bulk.marks[place] == Mark.TIMED_OUT
            and mark is not Mark.TIMED_OUT
            and told.command_id == command_id(bulk, bulk.round, told.station_id)
        ):
            self.bulk = replace(bulk, marks=bulk.marked(place, mark))

    def steer(self, steer: SteerBulkCommand) -> None:
        """Stop, go on or retry; what comes again, or has nothing to do, changes nothing."""
        bulk = self.bulk
        if steer.event_id in bulk.steered:
            return
        match steer.action, bulk.status:
            case BulkAction.STOP, BulkStatus.RUNNING:
                reason = f"{STOPPED_BY}{steer.requested_by}: {steer.reason}"
                self.bulk = replace(bulk, status=BulkStatus.STOPPED, reason=reason)
            case BulkAction.RESUME, BulkStatus.STOPPED:
                self._start()
            case BulkAction.RETRY, BulkStatus.STOPPED | BulkStatus.FINISHED:
                self._retry(steer)
            case _:
                return
        steered = (*bulk.steered, steer.event_id)[-REMEMBERED_STEERING:]
        self.bulk = replace(self.bulk, steered=steered)

    def give_up(self) -> None:
        """Wait no longer for fates that should have been told."""
        for flight in [each for each in self.bulk.flights if each.give_up_at <= self.now]:
            station_id = self.bulk.stations[flight.place]
            asked = command_id(self.bulk, flight.round, station_id)
            self._through(flight, Mark.TIMED_OUT)
            self.tell(
                station_id, BulkStationStatus.TIMED_OUT, NO_WORD, asked, derive_id(asked, "bulk:given-up")
            )

    def settle(self) -> None:
        """Ask as many stations as there is room for, and tell the counts."""
        bulk = self.bulk
        if bulk.status is BulkStatus.RUNNING:
            place = -1
            places: list[int] = []
            room = bulk.concurrency - len(bulk.flights)
            while len(places) < room and (place := bulk.marks.find(Mark.WAITING, place + 1)) >= 0:
                places.append(place)
            self._ask(places)
        if not self.bulk.flights and Mark.WAITING not in self.bulk.marks:
            self.bulk = replace(self.bulk, status=BulkStatus.FINISHED, reason="")
        self.bulk = replace(self.bulk, told_at=max(self.bulk.told_at, self.now))
        self.out.append(progress(self.bulk, self.now, self.cause_id))

    def tell(
        self, station_id: str, status: BulkStationStatus, reason: str, asked: str | None, event_id: str
    ) -> None:
        """Tell of a station, which `asked` (a command) went to."""
        told = BulkStationProgressed(
            event_id=event_id,
            occurred_at=self.now,
            recorded_at=self.now,
            cause_id=self.cause_id,
            bulk_id=self.bulk.bulk_id,
            station_id=station_id,
            status=status,
            command_id=asked,
            reason=reason,
        )
        self.out.append(Emit(COMMANDS_BULK_STATIONS, self.bulk.bulk_id, told))

    def skip(self, station_id: str, reason: str) -> None:
        """Tell that a station is not asked."""
        event_id = derive_id(self.cause_id, f"skipped:{station_id}")
        self.tell(station_id, BulkStationStatus.SKIPPED, reason, None, event_id)

    def _start(self) -> None:
        self.bulk = replace(self.bulk, status=BulkStatus.RUNNING, reason="", judged=0, unsuccessful=0)

    def _retry(self, steer: SteerBulkCommand) -> None:
        bulk = self.bulk
        again = UNSUCCESSFUL | {Mark.SKIPPED}
        marks = bytearray(bulk.marks)
        for place, station_id in enumerate(bulk.stations):
            if marks[place] not in again and marks[place] != Mark.WAITING:
                continue
            reason = _reason(steer.skip_reasons, steer.skipped[place] if place < len(steer.skipped) else 0)
            if not reason and marks[place] == Mark.WAITING:
                continue
            if not reason and bulk.message[place] != NO_MESSAGE:
                marks[place] = Mark.WAITING
                event_id = derive_id(self.cause_id, f"waiting:{station_id}")
                self.tell(station_id, BulkStationStatus.WAITING, "", None, event_id)
            elif reason:
                marks[place] = Mark.SKIPPED
                self.skip(station_id, reason)
        self.bulk = replace(bulk, marks=bytes(marks), round=bulk.round + 1)
        self._start()

    def _through(self, flight: Flight, mark: Mark) -> None:
        bulk = self.bulk
        bulk = replace(
            bulk,
            marks=bulk.marked(flight.place, mark),
            flights=tuple(each for each in bulk.flights if each is not flight),
            judged=bulk.judged + 1,
            unsuccessful=bulk.unsuccessful + (mark in UNSUCCESSFUL),
        )
        share = bulk.stop_at_percent
        if (
            share is not None
            and bulk.status is BulkStatus.RUNNING
            and bulk.judged >= bulk.stop_after
            and bulk.unsuccessful * 100 >= share * bulk.judged
            and Mark.WAITING in bulk.marks
        ):
            reason = f"{bulk.unsuccessful} of {bulk.judged} stations were not successful"
            bulk = replace(bulk, status=BulkStatus.STOPPED, reason=reason)
        self.bulk = bulk

    def _ask(self, places: list[int]) -> None:
        bulk = self.bulk
        marks, flights = bytearray(bulk.marks), list(bulk.flights)
        expires_at = self.now + bulk.ttl_ms * 1000
        for place in places:
            station_id = bulk.stations[place]
            message = bulk.messages[bulk.message[place]]
            asked = command_id(bulk, bulk.round, station_id)
            marks[place] = Mark.SENT
            flights.append(Flight(place, bulk.round, expires_at + bulk.call_timeout_ms * 1000 + GRACE))
            request = RequestCommand(
                event_id=asked,
                occurred_at=self.now,
                recorded_at=self.now,
                cause_id=self.cause_id,
                station_id=station_id,
                action=message.action,
                payload=message.payload,
                dialect=message.dialect,
                requested_by=bulk.requested_by,
                expires_at=expires_at,
                call_timeout_ms=bulk.call_timeout_ms,
                bulk_id=bulk.bulk_id,
            )
            self.out.append(Emit(COMMANDS_REQUESTED, station_id, request))
            self.tell(station_id, BulkStationStatus.SENT, "", asked, derive_id(asked, "bulk:sent"))
        self.bulk = replace(bulk, marks=bytes(marks), flights=tuple(flights))


def command_id(bulk: Bulk, number: int, station_id: str) -> str:
    """The id of the command that a station is sent in a round."""
    return derive_id(bulk.bulk_id, f"{number}:{station_id}")


def begun(request: RequestBulkCommand) -> Turn:
    """The first turn of a bulk command: nobody is asked yet. `refusal_of` has nothing against the request."""
    found: dict[str, BulkTarget] = {}
    for each in request.stations:
        found.setdefault(each.station_id, each)
    targets = [*found.values()]
    reasons = [_reason(request.skip_reasons, each.skipped) for each in targets]
    messages = [each.message if 0 <= each.message < len(request.messages) else NO_MESSAGE for each in targets]
    skipped = [
        bool(reason) or message == NO_MESSAGE for reason, message in zip(reasons, messages, strict=True)
    ]
    bulk = Bulk(
        bulk_id=request.bulk_id,
        requested_by=request.requested_by,
        messages=request.messages,
        stations=tuple(each.station_id for each in targets),
        message=bytes(messages),
        marks=bytes(Mark.SKIPPED if each else Mark.WAITING for each in skipped),
        concurrency=request.concurrency,
        stop_at_percent=request.stop_at_percent,
        stop_after=request.stop_after,
        ttl_ms=request.ttl_ms,
        call_timeout_ms=request.call_timeout_ms,
        told_at=request.recorded_at,
    )
    turn = Turn(bulk, request.recorded_at, request.event_id)
    for station_id, reason, skip in zip(bulk.stations, reasons, skipped, strict=True):
        if skip:
            turn.skip(station_id, reason or "no message is for it")
    return turn


def refusal_of(request: RequestBulkCommand) -> str:
    """Why a bulk command is not done at all; "" if it is."""
    texts = [request.bulk_id, request.requested_by, *request.skip_reasons]
    texts += [text for each in request.messages for text in (each.action, each.payload)]
    texts += [each.station_id for each in request.stations]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if len(request.stations) > MOST_STATIONS or size > MOST_BYTES:
        return f"larger than {MOST_STATIONS} stations or {MOST_BYTES} bytes"
    if not 0 < len(request.messages) <= MOST_MESSAGES:
        return f"not 1 to {MOST_MESSAGES} messages"
    if not 0 < request.concurrency <= MOST_CONCURRENCY:
        return f"not 1 to {MOST_CONCURRENCY} stations at once"
    if request.ttl_ms < 0 or request.call_timeout_ms < 0:
        return "a time below zero"
    return ""


def refused(request: RequestBulkCommand, why: str) -> Emit:
    """A bulk command that is over as it begins: every station has failed."""
    total = len({each.station_id for each in request.stations})
    return _progressed(
        request.bulk_id, request.recorded_at, request.recorded_at, request.event_id,
        status=BulkStatus.FINISHED, reason=why, counts={Mark.FAILED: total},
    )  # fmt: skip


def progress(bulk: Bulk, now: int, cause_id: str) -> Emit:
    """The counts."""
    return _progressed(
        bulk.bulk_id, now, bulk.told_at, cause_id,
        status=bulk.status, reason=bulk.reason, round_=bulk.round, counts={mark: bulk.count(mark) for mark in Mark},
    )  # fmt: skip


def _progressed(
    bulk_id: str,
    now: int,
    told_at: int,
    cause_id: str,
    *,
    status: BulkStatus,
    reason: str,
    round_: int = 1,
    counts: dict[Mark, int],
) -> Emit:
    record = BulkCommandProgressed(
        event_id=derive_id(cause_id, f"bulk:{bulk_id}"),
        occurred_at=now,
        recorded_at=told_at,
        cause_id=cause_id,
        bulk_id=bulk_id,
        status=status,
        reason=reason,
        round=round_,
        total=sum(counts.values()),
        **{mark.name.lower(): counts.get(mark, 0) for mark in Mark},
    )
    return Emit(COMMANDS_BULK_PROGRESS, bulk_id, record)


def _reason(reasons: tuple[str, ...], number: int) -> str:
    return reasons[number - 1] if 0 < number <= len(reasons) else ""
