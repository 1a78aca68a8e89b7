"""One event's work on a station's ledger."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from libs.bus.message import Emit
from libs.events.commands import CommandConcluded, CommandDialect, DispatchCommand, Fate, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import DispatchRefused, RefusalReason, StationLocated
from libs.events.topics import COMMANDS_BULK_STATIONS, COMMANDS_DISPATCH, COMMANDS_OUTCOMES
from libs.ocpp.semantics.abilities import Abilities, is_form, with_variables, without
from libs.ocpp.semantics.commands import GetBaseReport
from libs.ocpp.semantics.degradation import plan_command
from libs.ocpp.semantics.dialect import from_request
from libs.ocpp.semantics.encoding import Unsupported
from libs.ocpp.semantics.sent_calls import merge_results
from libs.ocpp.semantics.splitting import ENDS_AT_REFUSAL, SEVERAL, items_asked
from libs.ocpp.semantics.variables import LIMITING_VARIABLES
from libs.ocpp.versions import Version, known_version
from services.commands.domain.ledger.answers import station_told
from services.commands.domain.ledger.evidence import Evidence, attempt_number, evidence_of_refusal
from services.commands.domain.ledger.ledger import (
    MOST_MESSAGE_BYTES,
    MOST_RESULT_BYTES,
    Concluded,
    Flight,
    Ledger,
    Location,
    Part,
    Policy,
    Waiting,
    kept_early,
    remembered,
    utf8_length,
)

NO_WORD: Final = "no word from the edge that it was dispatched to"


class Turn:
    """One event's work on a ledger: `ledger` and `out` grow as decisions are made at the moment `now`.

    `bounded`: the bounds that were reached.
    """

    def __init__(self, policy: Policy, ledger: Ledger, now: int, cause_id: str | None) -> None:
        self.policy = policy
        self.ledger = ledger
        self.now = now
        self.cause_id = cause_id
        self.out: list[Emit] = []
        self.bounded: list[str] = []

    def request(self, request: RequestCommand) -> None:
        """Queue a command, or give it the fate that is already known; one seen before is nothing new.

        One for which there is no room has failed, unless it is known to have been sent.
        """
        command_id = request.event_id
        known = self.ledger.waiting(command_id) is not None
        if known or any(done.command_id == command_id for done in self.ledger.concluded):
            return
        waiting = Waiting(
            command_id=command_id,
            action=request.action,
            payload=request.payload,
            dialect=request.dialect,
            requested_by=request.requested_by,
            requested_at=request.recorded_at,
            expires_at=request.expires_at,
            call_timeout_ms=request.call_timeout_ms,
            replaces=request.replaces,
            total=_items_asked(request),
            bulk_id=request.bulk_id,
        )
        if request.replaces is not None:
            for older in [w for w in self.ledger.grounded() if w.replaces == request.replaces]:
                self._decide(older, Fate.EXPIRED, "replaced by a newer command")
        early = [evidence for evidence in self.ledger.early if evidence.command_id == command_id]
        no_room = self.ledger.no_room_for(waiting)
        if no_room and not early:
            self._refuse_room(waiting, no_room)
            return
        self.ledger = replace(self.ledger, queue=(*self.ledger.queue, waiting))
        if early:
            rest = tuple(e for e in self.ledger.early if e.command_id != command_id)
            self.ledger = replace(self.ledger, early=rest)
        for evidence in early:
            if self.ledger.waiting(command_id) is not None:
                self.conclude_by(evidence)
        if no_room and (left := self.ledger.waiting(command_id)) is not None:
            self._refuse_room(left, no_room)

    def _refuse_room(self, waiting: Waiting, reason: str) -> None:
        self.bounded.append("waiting")
        self._decide(waiting, Fate.FAILED, reason, refused=True)

    def learn(self, abilities: Abilities) -> None:
        """Take what is known of the station from now on."""
        if abilities != self.ledger.abilities:
            self.ledger = replace(self.ledger, abilities=abilities)

    def locate(self, located: StationLocated) -> None:
        """Take a newer connection, or the end of the one that is known."""
        known = self.ledger.location
        epoch = located.connection_epoch
        if known is not None:
            ended = epoch == known.epoch and known.connected and not located.connected
            if epoch <= known.epoch and not ended:
                return
        location = Location(epoch, located.slot, located.version, located.connected)
        self.ledger = replace(self.ledger, location=location)
        flight = self.ledger.flight
        if flight is not None and (flight.epoch < epoch or not located.connected):
            # The edge that held the connection, if it lives, reports now; if it died it never will.
            soon = min(flight.give_up_at, self.now + self.policy.loss_grace)
            self.ledger = replace(self.ledger, flight=replace(flight, give_up_at=soon))

    def forget_location(self) -> None:
        """The station is no longer known to be anywhere."""
        self.ledger = replace(self.ledger, location=None)

    def conclude_by(self, evidence: Evidence) -> None:
        """Give a command the fate that an edge reported; kept if the request has not arrived yet."""
        waiting = self.ledger.waiting(evidence.command_id)
        if waiting is not None:
            known = attempt_number(evidence.command_id, evidence.dispatch_id, waiting.attempts)
            attempts = waiting.attempts if known is None else known
            if attempts <= waiting.refused_attempt:
                return
            if self._split(waiting, evidence, attempts) or self._lessen(waiting, evidence, attempts):
                return
            if evidence.items and waiting.action == GetBaseReport.__name__:
                # The charger cannot report and was asked by names; replayed, that dispatch may not be known.
                waiting = replace(waiting, total=len(LIMITING_VARIABLES))
            readable = evidence.fate in (Fate.ACCEPTED, Fate.REJECTED)
            if readable and 0 < evidence.items < waiting.total:
                self._conclude_part(waiting, evidence, attempts)
            else:
                self._conclude(replace(waiting, attempts=attempts), evidence)
            return
        concluded = any(done.command_id == evidence.command_id for done in self.ledger.concluded)
        if not concluded and all(early.dispatch_id != evidence.dispatch_id for early in self.ledger.early):
            early = (*self.ledger.early, evidence)
            kept = kept_early(early)
            if kept != early:
                self.bounded.append("early")
            self.ledger = replace(self.ledger, early=kept)

    def _split(self, waiting: Waiting, evidence: Evidence, attempt: int) -> bool:
        """Whether the same is to be sent in smaller messages after the charger refused one as too large."""
        if not evidence.excess or waiting.dialect is CommandDialect.OCPP:
            return False
        self._update(
            replace(
                waiting,
                attempts=max(attempt, waiting.attempts),
                refused_attempt=attempt,
                told={**waiting.told, **evidence.excess},
            )
        )
        self._land(waiting)
        return True

    def _land(self, waiting: Waiting) -> None:
        """The command's dispatch is over, and the command is not."""
        flight = self.ledger.flight
        if flight is not None and flight.command_id == waiting.command_id:
            self.ledger = replace(self.ledger, flight=None)

    def _lessen(self, waiting: Waiting, evidence: Evidence, attempt: int) -> bool:
        """Whether something lesser is to be sent after the charger refused what it cannot do: nothing was done."""
        if evidence.lacks is None or evidence.lacks in waiting.lacks:
            return False
        lesser = replace(waiting, lacks=(*waiting.lacks, evidence.lacks))
        try:
            planned = _plan(lesser, evidence.version, self.ledger.abilities)
        except ValueError:
            return False
        if planned.degraded is None:
            return False
        self._update(
            replace(
                lesser,
                attempts=max(attempt, waiting.attempts),
                refused_attempt=attempt,
                degraded=planned.degraded,
                total=planned.total,
            )
        )
        self._land(waiting)
        return True

    def _conclude_part(self, waiting: Waiting, evidence: Evidence, attempt: int) -> None:
        """Take the result of one of several messages; the last of them concludes the command."""
        part = Part(attempt, evidence.items, evidence.fate, evidence.reason, evidence.result or "{}")
        if (before := waiting.part) is not None:
            if attempt <= before.attempt:
                return
            worse = before if before.fate is Fate.REJECTED else part
            result = merge_results(before.result, part.result)
            if utf8_length(result) > MOST_RESULT_BYTES:
                self.bounded.append("results")
                reason = f"its results take more than {MOST_RESULT_BYTES} bytes"
                sent = replace(before, done=before.done + part.done)
                failed = replace(evidence, fate=Fate.FAILED, reason=reason, result=None)
                self._conclude(replace(waiting, attempts=attempt, part=sent), failed)
                return
            part = Part(
                attempt=attempt,
                done=before.done + part.done,
                fate=worse.fate,
                reason=worse.reason,
                result=result,
            )
        told = {**waiting.told, **evidence.told}
        waiting = replace(waiting, attempts=max(attempt, waiting.attempts), part=part, told=told)
        over = waiting.action in ENDS_AT_REFUSAL and part.fate is Fate.REJECTED
        if over or part.done >= waiting.total:
            whole = replace(evidence, fate=part.fate, reason=part.reason, result=part.result)
            self._conclude(replace(waiting, part=None), whole)
            return
        self._update(waiting)
        self._land(waiting)

    def refuse(self, refused: DispatchRefused) -> None:
        """The edge sent nothing: the command is free to be dispatched again, unless it never can be."""
        if refused.reason is RefusalReason.INVALID:
            self.conclude_by(evidence_of_refusal(refused))
            return
        waiting = self.ledger.waiting(refused.command_id)
        if waiting is None:
            return
        attempt = attempt_number(refused.command_id, refused.cause_id, waiting.attempts)
        if attempt is None or attempt < waiting.attempts:
            return
        if attempt > waiting.attempts:
            # Replayed without the locations that led to this dispatch: it proves that the ones before have ended.
            waiting = replace(waiting, attempts=attempt)
            self._update(waiting)
        flight = self.ledger.flight
        if flight is None or flight.command_id != waiting.command_id:
            return
        self.ledger = replace(self.ledger, flight=None)
        if refused.reason is RefusalReason.NOT_HERE:
            pause = min(self.policy.retry << waiting.misses, self.policy.retry_most)
            self._update(replace(waiting, misses=min(waiting.misses + 1, 16)))
            self.ledger = replace(self.ledger, missed_epoch=flight.epoch, retry_at=self.now + pause)

    def settle(self) -> None:
        """Do what the moment allows: give up, expire, dispatch the head of the queue."""
        flight = self.ledger.flight
        if flight is not None and flight.give_up_at <= self.now:
            waiting = self.ledger.waiting(flight.command_id)
            if waiting is not None:
                self._decide(waiting, Fate.UNKNOWN, NO_WORD)
        for waiting in [w for w in self.ledger.grounded() if w.expires_at <= self.now]:
            # Not when that was noticed: a replay may see things in another order.
            self._decide(waiting, Fate.EXPIRED, self._why_not_sent(waiting), occurred_at=waiting.expires_at)
        while self.ledger.flight is None and self.ledger.queue:
            location = self.ledger.reachable()
            if location is None:
                return
            if location.epoch == self.ledger.missed_epoch and self.now < self.ledger.retry_at:
                return
            self._dispatch(self.ledger.queue[0], location)

    def _dispatch(self, waiting: Waiting, location: Location) -> None:
        try:
            planned = _plan(waiting, location.version, self.ledger.abilities)
        except Unsupported as error:
            self._decide(waiting, Fate.FAILED, str(error))
            return
        except ValueError as error:
            self._decide(waiting, Fate.FAILED, f"not possible with {location.version}: {error}")
            return
        if (size := utf8_length(planned.payload)) > MOST_MESSAGE_BYTES:
            self.bounded.append("message")
            self._decide(
                waiting, Fate.FAILED, f"its message takes {size} bytes, more than {MOST_MESSAGE_BYTES}"
            )
            return
        waiting = replace(
            waiting, attempts=waiting.attempts + 1, total=planned.total, degraded=planned.degraded
        )
        self._update(waiting)
        send_by = min(waiting.expires_at, self.now + self.policy.window)
        give_up_at = max(send_by, self.now) + waiting.call_timeout_ms * 1000 + self.policy.grace
        flight = Flight(waiting.command_id, location.epoch, give_up_at)
        self.ledger = replace(self.ledger, flight=flight, missed_epoch=None)
        dispatch = DispatchCommand(
            event_id=derive_id(waiting.command_id, f"dispatch:{waiting.attempts}"),
            occurred_at=self.now,
            recorded_at=self.now,
            cause_id=self.cause_id or waiting.command_id,
            station_id=self.ledger.station_id,
            command_id=waiting.command_id,
            slot=location.slot,
            connection_epoch=location.epoch,
            attempt=waiting.attempts,
            action=planned.action,
            payload=planned.payload,
            send_by=send_by,
            call_timeout_ms=waiting.call_timeout_ms,
        )
        self.out.append(Emit(COMMANDS_DISPATCH, str(location.slot), dispatch, partition=location.slot))

    def _decide(
        self,
        waiting: Waiting,
        fate: Fate,
        reason: str,
        *,
        occurred_at: int | None = None,
        refused: bool = False,
    ) -> None:
        cause = self.cause_id or waiting.command_id
        evidence = Evidence(cause, "", waiting.command_id, self.now, fate, reason)
        self._conclude(waiting, evidence, occurred_at=occurred_at, refused=refused)

    def _conclude(
        self, waiting: Waiting, evidence: Evidence, *, occurred_at: int | None = None, refused: bool = False
    ) -> None:
        if (part := waiting.part) is not None:
            # Some of it was sent: it did not expire.
            fate = Fate.FAILED if evidence.fate is Fate.EXPIRED else evidence.fate
            reason = f"{evidence.reason}, after {part.done} of {waiting.total} items"
            evidence = replace(evidence, fate=fate, reason=reason, result=evidence.result or part.result)
        if waiting.lacks and evidence.fate is Fate.EXPIRED:
            reason = f"the charger lacks {waiting.lacks[-1]}, and then: {evidence.reason}"
            evidence = replace(evidence, fate=Fate.FAILED, reason=reason)
        concluded = CommandConcluded(
            event_id=derive_id(waiting.command_id, "concluded"),
            occurred_at=evidence.at if occurred_at is None else occurred_at,
            recorded_at=evidence.at,
            cause_id=evidence.event_id,
            station_id=self.ledger.station_id,
            command_id=waiting.command_id,
            action=waiting.action,
            dialect=waiting.dialect,
            fate=evidence.fate,
            reason=evidence.reason,
            result=evidence.result,
            error=evidence.error,
            requested_at=waiting.requested_at,
            requested_by=waiting.requested_by,
            attempts=waiting.attempts,
            degraded=waiting.degraded,
        )
        self.out.append(Emit(COMMANDS_OUTCOMES, self.ledger.station_id, concluded))
        if waiting.bulk_id is not None:
            told = station_told(waiting.bulk_id, concluded)
            self.out.append(Emit(COMMANDS_BULK_STATIONS, waiting.bulk_id, told))
        self._remember(waiting, evidence)
        flight = self.ledger.flight
        concluded_now = Concluded(waiting.command_id, self.now, refused)
        self.ledger = replace(
            self.ledger,
            queue=tuple(w for w in self.ledger.queue if w.command_id != waiting.command_id),
            flight=None if flight is not None and flight.command_id == waiting.command_id else flight,
            concluded=remembered(self.ledger.concluded, concluded_now, self.now),
        )

    def _remember(self, waiting: Waiting, evidence: Evidence) -> None:
        """Of charging profiles one that was accepted after others were refused is the first to be sent from now on."""
        version, known = known_version(evidence.version), self.ledger.abilities
        refused = tuple(each for each in waiting.lacks if is_form(each) and each not in known.lacking)
        if refused and evidence.fate is Fate.ACCEPTED and version is not None:
            self.learn(without(known, version, refused))

    def _update(self, waiting: Waiting) -> None:
        queue = tuple(waiting if w.command_id == waiting.command_id else w for w in self.ledger.queue)
        self.ledger = replace(self.ledger, queue=queue)

    def _why_not_sent(self, waiting: Waiting) -> str:
        if self.ledger.reachable() is None:
            return "the station was not connected in time"
        if self.ledger.queue[0].command_id != waiting.command_id:
            return "the station was busy with an earlier command"
        return "no edge could send it in time"


class _Message(msgspec.Struct, frozen=True):
    """The next message of a command; payload is JSON text."""

    action: str
    payload: str
    degraded: str | None = None
    total: int = 0


def _plan(waiting: Waiting, version: str, abilities: Abilities) -> _Message:
    """What to send to a charger of `version`.

    Raises Unsupported for what the charger lacks, another ValueError for what its version cannot be asked.
    """
    if waiting.dialect is CommandDialect.OCPP:
        return _Message(waiting.action, waiting.payload)
    if waiting.dialect is CommandDialect.UNKNOWN:
        raise ValueError("this version of the platform does not know the command's dialect")
    command = from_request(waiting.action, waiting.payload)
    spoken = Version(version)
    if waiting.lacks:
        abilities = without(abilities, spoken, waiting.lacks)
    if waiting.told:
        abilities = with_variables(abilities, spoken, waiting.told)
    done = 0 if waiting.part is None else waiting.part.done
    planned = plan_command(spoken, command, abilities, done, asked_at=waiting.requested_at)
    return _Message(planned.action, planned.text, planned.degraded, planned.total)


def _items_asked(request: RequestCommand) -> int:
    if request.dialect is not CommandDialect.VOLTBUS or request.action not in SEVERAL:
        return 0
    try:
        return items_asked(from_request(request.action, request.payload))
    except ValueError:
        return 0
