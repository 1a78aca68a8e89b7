"""One session as the evidence seen of it (joined by `evidence.absorb`); `outcome` says what it amounts to.

Times are microseconds since the Unix epoch, energy is int Wh.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from libs.events.ids import derive_id
from libs.ocpp.quirks import START_REGISTER_UNKNOWN
from libs.runtime.clock import SECOND
from libs.tariffs.usage import Usage, VehicleState, usage_from_readings
from services.sessions.domain import curve, energy, states, tokens
from services.sessions.domain.curve import EMPTY, Curve
from services.sessions.domain.energy import METER_ROLLBACK, ROLLBACK_TOLERANCE_WH, Measured
from services.sessions.domain.grants import Asked, Grant
from services.sessions.domain.states import still, told
from services.sessions.domain.tokens import Presented

NO_METER: Final = "no_meter"
NO_METER_START: Final = "no_meter_start"
NO_METER_STOP: Final = "no_meter_stop"
NO_START: Final = "no_start"
NO_STOP: Final = "no_stop"
STOP_CONFLICT: Final = "stop_conflict"
CLOCK_DOUBT: Final = "clock_doubt"
ENDLESS: Final = "endless"
MOST_UNHEARD: Final = 7 * 24 * 3600 * SECOND
"""How much longer than between the receipts of its messages a transaction may have lasted: it may begin offline."""
MOST_OFFLINE: Final = 24 * 3600 * SECOND
"""As `MOST_UNHEARD`, without a doubt."""
MOST_SLIP: Final = 300 * SECOND
"""How far a clock may be ahead without a doubt."""
NOT_AUTHORIZED: Final = "not_authorized"
"""The energy was delivered to a refused token: all of it is in review."""


class Signed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record that carries signed meter values: the charger's time of it, and its event id."""

    at: int
    event_id: str


class Issued(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the last version of the charge record said that a credit note has to take back."""

    tariff_id: str | None
    tariff_version: int | None
    currency: str | None
    net_minor: int
    tax_minor: int
    amount_minor: int
    energy_wh: int
    billed_wh: int
    exported_wh: int
    hash: str
    written_off_wh: int = 0
    prepaid_wh: int = 0
    id_token: str | None = None
    group_id: str | None = None
    site_id: str | None = None


class Decided(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an operator decided, by whom and where in the log.

    `energy_wh` and `doubts` are what the evidence showed then, `billed_wh` is billed of it. `charged`: not written off.
    """

    decision_id: str
    decided_by: str
    charged: bool
    energy_wh: int
    billed_wh: int
    doubts: tuple[str, ...]
    partition: int
    offset: int


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Evidence of one transaction, and how much of it has been announced.

    `earliest_at` and `latest_at` bound the charger's times of all steps; `recorded_at` and `cause_id` belong to
    the last step that brought news. `meter` and `exported` are the registers read of energy taken and given back;
    `undated_low` and `undated_high` the extremes of those whose time could not be read. `signed`: first and last
    record with signed values. `most_w`: what the connector can deliver, if that is known. `doubts` are those that come
    from a single step. `session_id` is empty until SessionStarted is out. `closed_by_rule`: given up waiting.
    `revision`: how often the end has been announced, `issued`: what was charged by that. `quirks`: flags of all steps,
    sorted. `states`: what the vehicle did, as `usage` has it. `partition`, `first_offset` and `last_offset`: where the
    evidence is in the log. `decision`: the last one that holds. `held`: kept longer, since an operator may decide.
    `show_at`: when the driver may next be shown the cost so far, `shown_minor`: what was shown last.
    `trigger`: the last that told more than measurements. `until`: when the next transaction of the EVSE began.
    `booted_at`: when the station started anew, and had told nothing of it since. `aliases`: other ids that its
    start was given. `first_status`, `last_status`: where the connector's statuses are in the log.
    `group_id`: driver group of the id token when it began. `asked`, `grant`: of the bundle of its plan.
    `timezone`: IANA name of the site's clock when the site was found; None where it was not. `tokens`: all that it
    named; `id_token` is that of the first, the driver's. `first_heard_at`, `last_heard_at`: when the first of its
    messages was recorded, and its stop, or the last while there is none; None where a release before began it. `place`:
    where `meter` was read (`TransactionStep.place`).
    """

    transaction_id: str
    version: str
    earliest_at: int
    latest_at: int
    recorded_at: int
    cause_id: str
    evse_id: int | None = None
    id_token: str | None = None
    started_at: int | None = None
    meter_start_wh: int | None = None
    stopped_at: int | None = None
    meter_stop_wh: int | None = None
    reason: str = ""
    meter: Curve = EMPTY
    exported: Curve = EMPTY
    undated_low: int | None = None
    undated_high: int | None = None
    signed: tuple[Signed, ...] = ()
    charging_state: str | None = None
    state_at: int | None = None
    doubts: tuple[str, ...] = ()
    session_id: str = ""
    site_id: str | None = None
    most_w: int | None = None
    closed_by_rule: bool = False
    revision: int = 0
    quirks: tuple[str, ...] = ()
    states: Curve = EMPTY
    issued: Issued | None = None
    partition: int = 0
    first_offset: int = -1
    last_offset: int = -1
    decision: Decided | None = None
    held: bool = False
    show_at: int = 0
    shown_minor: int = 0
    trigger: str = ""
    trigger_at: int | None = None
    until: int | None = None
    booted_at: int | None = None
    first_status: int = -1
    last_status: int = -1
    aliases: tuple[str, ...] = ()
    group_id: str | None = None
    asked: Asked | None = None
    grant: Grant | None = None
    timezone: str | None = None
    tokens: tuple[Presented, ...] = ()
    first_heard_at: int | None = None
    last_heard_at: int | None = None
    place: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more is awaited of it."""
        return self.closed_by_rule or (self.stopped_at is not None and self.started_at is not None)

    @property
    def begun_at(self) -> int:
        """When it began, as far as that is known."""
        return self.earliest_at if self.started_at is None else self.started_at

    @property
    def ended_at(self) -> int:
        """When it ended, as far as that is known."""
        if self.stopped_at is not None:
            return self.stopped_at
        return self.latest_at if self.until is None else min(self.latest_at, self.until)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of an ended session. Equal outcomes need no correction."""

    evse_id: int
    id_token: str | None
    started_at: int
    ended_at: int
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int
    billed_wh: int
    review_wh: int
    exported_wh: int
    reason: str
    review: tuple[str, ...]
    signed: tuple[str, ...]
    charging_s: int
    suspended_s: int
    idle_s: int
    written_off_wh: int = 0
    decision_id: str | None = None
    decided_by: str | None = None
    token_refusal: str = ""


def session_id_of(station_id: str, session: Session) -> str:
    """Identity of a session: station, transaction id and start (or earliest evidence, if it has no start)."""
    return derive_id(f"{station_id}\n{session.transaction_id}\n{session.begun_at}", "session")


def was_over(session: Session, at: int) -> bool:
    """Whether it was over at `at`: a charger goes on with an id whose transaction has stopped, or been followed."""
    if session.stopped_at is not None and at > session.stopped_at:
        return True
    return session.until is not None and at >= session.until


def credible(session: Session, at: int, recorded_at: int) -> int:
    """The moment of what a charger dated `at` and the platform recorded at `recorded_at`.

    None is later than its receipt, but for what the clock was ahead already when the session began.
    """
    if session.first_heard_at is None:
        return at
    return min(at, recorded_at + max(0, session.begun_at - session.first_heard_at))


def span(session: Session) -> tuple[int, int, bool]:
    """Start and end of a session in microseconds, and whether its clock is in doubt.

    The charger's times count as far as the times of receipt allow: no event is later than its receipt. A clock that is
    constantly ahead gives the right duration. If start and end contradict each other, or the session is too long, the
    times of receipt count.
    """
    begun, ended = session.begun_at, session.ended_at
    first, last = session.first_heard_at, session.last_heard_at
    if first is None or last is None:
        return begun, max(begun, ended), ended < begun
    heard = max(0, last - first)
    if ended < begun or ended - begun > heard + MOST_UNHEARD:
        return first, first + heard, True
    ahead, ahead_later = begun - first, ended - last
    in_doubt = ended - begun > heard + MOST_OFFLINE
    if ahead > 0 and abs(ahead - ahead_later) <= MOST_SLIP:
        return begun, min(ended, begun + heard), in_doubt
    begun = min(begun, first)
    return begun, max(begun, min(ended, last)), in_doubt or max(ahead, ahead_later) > MOST_SLIP


def running(session: Session) -> tuple[int, int | None, str | None]:
    """Of a session under way: energy so far in Wh, last register in Wh, charging state."""
    start, last = _start_wh(session), session.meter.last()
    if start is None:
        start = session.meter.first()
    if last is None or start is None:
        return 0, start, session.charging_state
    first = session.meter.first()
    if session.meter.steady and first is not None and first >= start:
        return last - start, last, session.charging_state
    registers = _registers(session, start, None)
    return energy.measure(registers, False, None).delivered_wh, last, session.charging_state


def _registers(session: Session, start: int, stop: int | None) -> list[energy.Reading]:
    """The registers in order, none before the start nor after the end; with that at the end, if there is one."""
    begin, end, _ = span(session)
    readings = [(min(max(at, begin), end), wh) for at, wh in own(session, session.meter)]
    return [(begin, start), *readings, *(() if stop is None else ((end, stop),))]


def own(session: Session, registers: Curve) -> curve.Points:
    """Its registers, but for those of the time when it was over."""
    readings = registers.readings()
    if session.until is None and (session.stopped_at is None or session.stopped_at >= session.latest_at):
        return readings
    return [each for each in readings if not was_over(session, each[0])]


def _start_wh(session: Session) -> int | None:
    """The transaction's own register at the start. A zero that by rule may mean nothing does mean zero where the
    connector can have delivered since what the first register shows."""
    start = session.meter_start_wh
    if start is not None or START_REGISTER_UNKNOWN not in session.quirks:
        return start
    begin, end, _ = span(session)
    shown = own(session, session.meter)
    if session.meter_stop_wh is not None:
        shown.append((end, session.meter_stop_wh))
    if not shown:
        return None
    at, wh = shown[0]
    most_w = session.most_w or energy.WALLBOX_W
    return 0 if wh <= energy.most_wh(most_w, at - begin) - energy.SLACK_WH else None


def measured(session: Session) -> Measured | None:
    """What the registers of an ended session amount to; None if it has none.

    The register at start is the transaction's own, else the one read first; at the end the transaction's own, else
    the one read last.
    """
    start, stop = _start_wh(session), session.meter_stop_wh
    if start is None:
        start = session.meter.first()
    if start is None:
        start = session.undated_low
    last = stop
    if last is None and not session.meter.points:
        last = session.undated_high
    if start is None or (last is None and not session.meter.points):
        return None
    return energy.measure(_registers(session, start, last), stop is not None, session.most_w)


def outcome(session: Session) -> tuple[Outcome, Usage]:
    """The result of a session that has ended or was closed by a rule, and the usage to be billed.

    `review` names every substitute for missing evidence and every doubt about the registers.
    """
    doubts = set(session.doubts)
    meter = session.meter
    start, stop = _start_wh(session), session.meter_stop_wh
    low, high = session.undated_low, session.undated_high
    if session.started_at is None:
        doubts.add(NO_START)
    if session.stopped_at is None:
        doubts.add(NO_STOP)
    if start is None:
        start = meter.first() if meter.points else low
        doubts.add(NO_METER_START)
    if stop is None:
        shown = own(session, meter)
        stop = shown[-1][1] if shown else start if meter.points else high
        if session.stopped_at is not None:
            doubts.add(NO_METER_STOP)
    found = measured(session)
    spent = dict.fromkeys(VehicleState, 0)
    begun, ended_at, in_doubt = span(session)
    if in_doubt:
        doubts.add(CLOCK_DOUBT)
    readings = () if found is None else found.readings
    usage = usage_from_readings(begun, ended_at, readings, kinds(session, begun))
    for interval in usage:
        spent[interval.kind] += interval.end // SECOND - interval.start // SECOND
    if found is None:
        found = Measured(0, 0, ())
        doubts.add(NO_METER)
    elif start is not None and stop is not None:
        doubts.update(found.doubts)
        if (low is not None and low < start - ROLLBACK_TOLERANCE_WH) or (
            high is not None and high > stop + ROLLBACK_TOLERANCE_WH
        ):
            doubts.add(METER_ROLLBACK)
    billed_wh = found.billed_wh
    refusal = tokens.refusal(session.tokens)
    if refusal:
        billed_wh = 0
        if found.delivered_wh:
            doubts.add(NOT_AUTHORIZED)
    result = Outcome(
        evse_id=session.evse_id or 0,
        id_token=session.id_token,
        started_at=begun,
        ended_at=ended_at,
        meter_start_wh=start,
        meter_stop_wh=stop,
        energy_wh=found.delivered_wh,
        billed_wh=billed_wh,
        review_wh=found.delivered_wh - billed_wh,
        exported_wh=_exported_wh(session),
        reason=session.reason,
        review=tuple(sorted(doubts)),
        signed=tuple(dict.fromkeys(each.event_id for each in session.signed)),
        charging_s=spent[VehicleState.CHARGING],
        suspended_s=spent[VehicleState.SUSPENDED],
        idle_s=spent[VehicleState.IDLE],
        token_refusal=refusal,
    )
    return result, usage


def kinds(session: Session, begun: int) -> list[tuple[int, VehicleState]]:
    """What the vehicle did from which moment on: as the charger told, else as its registers show.

    They also have the word where they rose though nothing that was told is about charging.
    """
    start, stop = _start_wh(session), session.meter_stop_wh
    registers = [*(() if start is None else ((begun, start),)), *own(session, session.meter)]
    if stop is not None:
        # Samples may be rounded, so that the register at the end is a little lower than the last of them.
        last = registers[-1][1] if registers else stop
        rounded = last - ROLLBACK_TOLERANCE_WH <= stop < last
        registers.append((session.ended_at, last if rounded else stop))
        registers = energy.of_one_register(registers, True, session.most_w)
    if session.states.points:
        risen = any(one < other for (_, one), (_, other) in pairwise(registers))
        if not risen or states.says_charging(session.states):
            return told(session.states.readings(), begun)
    return still(registers)


def _exported_wh(session: Session) -> int:
    readings = own(session, session.exported)
    return energy.measure(readings, False, None).delivered_wh if readings else 0
