"""The ledger of a plan: what is left of a group's bundle in a month, and what the group owes for the month. Pure.

A ledger is kept for each group and tariff; all sessions of the group by that tariff share it, wherever they are.
First come, first served: the order in which their questions reach the ledger decides who gets the last of a bundle.
A session draws once for each question; a new question replaces its draw: what others have drawn is not touched.
So all draws of a month are together never more than the bundle.

State is bounded: a month is open until `KEEP` after its end and for `MOST_SESSIONS` sessions that have
something of it, all months for `MOST_DRAWS`. Who asks later keeps what it had and gets nothing more.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.plans import PlanMonthCharged, PlanTax, PrepaidAsked, PrepaidGranted, withdrawal_id
from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.topics import BILLING_PLAN_MONTHS, BILLING_PREPAID, BILLING_PREPAID_ASKED, REGISTRY_TARIFFS
from libs.runtime.clock import SECOND
from libs.tariffs.engine import monthly_bill, plan_of
from libs.tariffs.months import month_at, month_number, month_start, month_text

_DAY: Final = 24 * 3600 * SECOND

SETTLE: Final = 2 * _DAY
"""How long after its end a month is charged: most sessions that began in it are over then."""
KEEP: Final = 92 * _DAY
"""How long after its end sessions of a month can still ask and give back."""
AHEAD: Final = _DAY
"""How far ahead of the platform's clock a session may have begun to have a share in a bundle."""
MOST_SESSIONS: Final = 30_000
MOST_DRAWS: Final = 60_000
"""Of all open months together."""

_CHARGED_KEPT: Final = 6
_LATER: Final = 1_000
"""A grant's time is this much after its question's: whoever merges topics by time sees the question's cause first."""


class Month(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What each session (its id's 16 bytes) has drawn by which revision; `drawn_wh`: all together."""

    number: int
    draws: dict[bytes, tuple[int, int]]
    drawn_wh: int = 0


class PlanLedger(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The open months in their order, and which is charged next.

    `timezone`, `cause_id`: of the question that came first. `next_month`: None once the tariff names the plan no more,
    until it is used again. `charged`: the last months that were. `closed`: the last
    month that nobody can ask about any more.
    """

    group_id: str
    tariff_id: str
    timezone: str
    cause_id: str
    months: tuple[Month, ...] = ()
    next_month: int | None = None
    charged: tuple[int, ...] = ()
    closed: int = 0
    due_at: int | None = None


class PlansProcessor(Processor[PlanLedger]):
    """Answers each question (PrepaidAsked) with what the bundle covers, and charges each month of a plan.

    A question that comes again is not answered again: what was granted stays in the log. A plan is charged from the
    month of its first use until no version of the tariff in the month names it, once per month, whether it was used
    in that month or not.
    """

    name = "plans"
    inputs = (BILLING_PREPAID_ASKED,)
    outputs = (BILLING_PREPAID, BILLING_PLAN_MONTHS)
    tables = (REGISTRY_TARIFFS,)
    state = PlanLedger
    unmarked_state = "e60a730442df7b01"
    max_state_bytes = 2_560 << 10
    linger_s = 0.1

    def key(self, message: Message) -> str | None:
        """Group and tariff: all questions of a group are in one partition."""
        record = message.record
        return f"{record.group_id}\n{record.tariff_id}" if isinstance(record, PrepaidAsked) else None

    def step(self, state: PlanLedger | None, event: Message | Tick, tables: Tables) -> Step[PlanLedger]:
        """Answer a question, or charge and close months."""
        if isinstance(event, Tick):
            return Step(None) if state is None else _turn(state, event.at, tables)
        ask = event.record
        assert isinstance(ask, PrepaidAsked)
        return _answer(state, ask)

    def due(self, state: PlanLedger) -> int | None:
        """When the next month is charged or forgotten."""
        return state.due_at


def _answer(state: PlanLedger | None, ask: PrepaidAsked) -> Step[PlanLedger]:
    month = month_number(ask.month)
    if not _is_open(state, month, ask):
        return Step(state, _late(ask), ("late",))
    if state is None:
        state = PlanLedger(ask.group_id, ask.tariff_id, ask.timezone, ask.event_id)
    used = _used(state, month)
    if not ask.bundle_wh:
        return Step(used)
    session = bytes.fromhex(ask.session_id.replace("-", ""))
    book = next((each for each in used.months if each.number == month), None) or Month(month, {})
    revision, own = book.draws.get(session, (0, 0))
    gives_up = ask.revision == revision and ask.event_id == withdrawal_id(ask.session_id, revision)
    if ask.revision <= revision and not (gives_up and ask.billed_wh < own):
        # It comes again; its answer is in the log.
        return Step(used)
    draws = dict(book.draws)
    drawn = sum(len(each.draws) for each in used.months)
    if not revision and (len(draws) >= MOST_SESSIONS or drawn >= MOST_DRAWS):
        # One that has nothing makes room: who begins sessions without energy must not shut out those that have some.
        idle = next((each for each, (_, drawn_wh) in draws.items() if not drawn_wh), None)
        if idle is None:
            return Step(used, _late(ask), ("sessions",))
        del draws[idle]
    others = book.drawn_wh - own
    wh = max(0, min(ask.billed_wh, ask.bundle_wh - others))
    draws[session] = (ask.revision, wh)
    book = Month(month, draws, others + wh)
    months = sorted((book, *(m for m in used.months if m.number != month)), key=lambda m: m.number)
    used = msgspec.structs.replace(used, months=tuple(months))
    return Step(_dated(used), (_granted(ask, "granted", wh),))


def _is_open(state: PlanLedger | None, month: int, ask: PrepaidAsked) -> bool:
    """By when the question was recorded, so that it is as open when it comes again."""
    begin, end = month_start(month, ask.timezone), month_start(month + 1, ask.timezone)
    return (state is None or month > state.closed) and begin - AHEAD <= ask.recorded_at < end + KEEP


def _late(ask: PrepaidAsked) -> tuple[Emit, ...]:
    """Under another id: the question may have been answered otherwise while the month was open."""
    if not ask.bundle_wh:
        return ()
    return (_granted(ask, "late", 0, closed=True),)


def _granted(ask: PrepaidAsked, purpose: str, wh: int, *, closed: bool = False) -> Emit:
    return Emit(
        BILLING_PREPAID,
        ask.station_id,
        PrepaidGranted(
            event_id=derive_id(ask.event_id, purpose),
            occurred_at=ask.recorded_at,
            recorded_at=ask.recorded_at + _LATER,
            cause_id=ask.event_id,
            station_id=ask.station_id,
            group_id=ask.group_id,
            session_id=ask.session_id,
            revision=ask.revision,
            tariff_id=ask.tariff_id,
            month=ask.month,
            billed_wh=ask.billed_wh,
            granted_wh=wh,
            closed=closed,
        ),
    )


def _used(state: PlanLedger, month: int) -> PlanLedger:
    """`state`, to be charged from `month` on if it is not yet."""
    if month in state.charged or (state.next_month is not None and state.next_month <= month):
        return state
    return _dated(msgspec.structs.replace(state, next_month=month))


def _turn(state: PlanLedger, at: int, tables: Tables) -> Step[PlanLedger]:
    """Charge the months that are to be charged by `at`, then forget those that are closed by then."""
    out: list[Emit] = []
    zone, number, charged = state.timezone, state.next_month, state.charged
    while number is not None and month_start(number + 1, zone) + SETTLE <= at:
        if number not in charged:
            document = _charge(state, number, at, tables)
            if document is None:
                number = None
                break
            out.append(document)
            charged = (*charged[1 - _CHARGED_KEPT :], number)
        number += 1
    kept = tuple(m for m in state.months if month_start(m.number + 1, zone) + KEEP > at)
    closed = max(state.closed, month_at(at - KEEP, zone) - 1)
    after = msgspec.structs.replace(state, months=kept, next_month=number, charged=charged, closed=closed)
    return Step(_dated(after), tuple(out))


def _dated(state: PlanLedger) -> PlanLedger:
    zone, moments = state.timezone, []
    if state.next_month is not None:
        moments.append(month_start(state.next_month + 1, zone) + SETTLE)
    if state.months:
        moments.append(month_start(state.months[0].number + 1, zone) + KEEP)
    return msgspec.structs.replace(state, due_at=min(moments, default=None))


def _charge(state: PlanLedger, number: int, at: int, tables: Tables) -> Emit | None:
    """What the group owes for a month; None if no version of the tariff then names its plan."""
    begin, end = month_start(number, state.timezone), month_start(number + 1, state.timezone)
    tariff = tables.get(REGISTRY_TARIFFS, {}).get(state.tariff_id)
    version = _naming(tariff, state.group_id, begin, end) if isinstance(tariff, TariffRegistered) else None
    plan = None if version is None else plan_of(version, state.group_id)
    if version is None or plan is None:
        return None
    bill = monthly_bill(version, state.group_id, begin, end)
    book = next((m for m in state.months if m.number == number), None)
    month = month_text(number)
    return Emit(
        BILLING_PLAN_MONTHS,
        state.group_id,
        PlanMonthCharged(
            event_id=derive_id(f"{state.group_id}\n{state.tariff_id}\n{month}", "plan-month"),
            occurred_at=end,
            recorded_at=at,
            cause_id=state.cause_id,
            group_id=state.group_id,
            tariff_id=state.tariff_id,
            tariff_version=version.version,
            month=month,
            from_at=begin,
            to_at=end,
            currency=version.currency,
            amount_minor=0 if bill is None else bill.gross_minor,
            net_minor=0 if bill is None else bill.net_minor,
            tax_minor=0 if bill is None else bill.tax_minor,
            taxes=()
            if bill is None
            else tuple(
                PlanTax(name=t.name, rate_milli=t.rate_milli, net_minor=t.net_minor, tax_minor=t.tax_minor)
                for t in bill.taxes
            ),
            bundle_wh=plan.prepaid_wh,
            used_wh=0 if book is None else book.drawn_wh,
            sessions=0 if book is None else len(book.draws),
        ),
    )


def _naming(tariff: TariffRegistered, group_id: str, begin: int, end: int) -> TariffVersion | None:
    """The first version in force between `begin` and `end` that names a plan of the group."""
    dated = sorted(tariff.versions, key=lambda v: (v.valid_from, v.version))
    for index, version in enumerate(dated):
        until = dated[index + 1].valid_from if index + 1 < len(dated) else end
        if version.valid_from < end and max(begin, version.valid_from) < until and plan_of(version, group_id):
            return version
    return None
