"""The ledger of bundles and monthly fees."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ids import derive_id
from libs.events.plans import PlanMonthCharged, PlanTax, PrepaidAsked, PrepaidGranted
from libs.events.tariffs import DriverPlan
from libs.events.topics import BILLING_PREPAID_ASKED
from libs.tariffs.months import month_number, month_start
from services.plans.domain.processor import KEEP, SETTLE, PlanLedger, PlansProcessor
from tests.unit.plans.given import FLEET, tables, version
from tests.unit.sessions.exchanges import DAY, HOUR, NOON

BERLIN = "Europe/Berlin"
NOVEMBER = month_number("2026-11")
END = month_start(NOVEMBER + 1, BERLIN)


def ask(
    session: str,
    billed_wh: int,
    revision: int = 1,
    *,
    at: int = NOON,
    month: str = "2026-11",
    bundle_wh: int = 20_000,
) -> PrepaidAsked:
    session_id = derive_id(session, "session")
    event_id = derive_id(session_id, f"prepaid-asked:{revision}")
    return PrepaidAsked(
        event_id=event_id,
        occurred_at=at,
        recorded_at=at,
        cause_id=event_id,
        station_id=f"at-{session}",
        group_id="fleet",
        session_id=session_id,
        revision=revision,
        tariff_id="fleets",
        tariff_version=1,
        month=month,
        timezone=BERLIN,
        bundle_wh=bundle_wh,
        billed_wh=billed_wh,
    )


class Ledger:
    def __init__(self, *plans: DriverPlan) -> None:
        self.runtime = MemoryRuntime(PlansProcessor(), tables(version(*plans or (FLEET,))))

    def ask(self, *asks: PrepaidAsked) -> list[int | None]:
        """What was granted to each question that was answered; None where the month is closed."""
        out = [
            emit for each in asks for emit in self.runtime.feed(BILLING_PREPAID_ASKED, each.group_id, each)
        ]
        assert not self.runtime.dead, self.runtime.dead
        answers = [emit.record for emit in out if isinstance(emit.record, PrepaidGranted)]
        return [None if each.closed else each.granted_wh for each in answers]

    def charged(self, until: int) -> list[PlanMonthCharged]:
        return [e.record for e in self.runtime.tick(until) if isinstance(e.record, PlanMonthCharged)]

    @property
    def state(self) -> PlanLedger:
        state = self.runtime.state_of("fleet\nfleets")
        assert state is not None
        return state


def test_first_come_first_served() -> None:
    assert Ledger().ask(ask("a", 12_000), ask("b", 12_000), ask("c", 5_000)) == [12_000, 8_000, 0]


def test_a_question_that_comes_again_has_no_second_effect() -> None:
    ledger = Ledger()
    assert ledger.ask(ask("a", 12_000), ask("a", 12_000), ask("b", 12_000)) == [12_000, 8_000]


def test_a_correction_keeps_its_draw_and_takes_what_is_left() -> None:
    ledger = Ledger()
    assert ledger.ask(ask("a", 12_000), ask("b", 5_000), ask("a", 16_000, 2)) == [12_000, 5_000, 15_000]


def test_what_is_written_off_is_given_back() -> None:
    ledger = Ledger()
    assert ledger.ask(ask("a", 20_000), ask("b", 5_000)) == [20_000, 0]
    assert ledger.ask(ask("a", 0, 2), ask("b", 5_001, 2)) == [0, 5_001]


def test_sessions_that_have_nothing_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.plans.domain.processor.MOST_SESSIONS", 2)
    ledger = Ledger()
    assert ledger.ask(ask("a", 0), ask("b", 9_000), ask("c", 8_000), ask("d", 7_000)) == [
        0,
        9_000,
        8_000,
        None,
    ]
    assert (len(ledger.state.months[0].draws), ledger.state.months[0].drawn_wh) == (2, 17_000)
    assert ledger.ask(ask("b", 0, 2), ask("d", 7_000, 2)) == [0, 7_000]


def test_an_older_question_that_comes_late_changes_nothing() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 3_000, 2))
    before = ledger.state
    assert ledger.ask(ask("a", 12_000, 1)) == []
    assert ledger.state == before


def test_each_month_has_its_bundle() -> None:
    december = ask("b", 15_000, at=END + HOUR, month="2026-12")
    assert Ledger().ask(ask("a", 15_000), december) == [15_000, 15_000]


def test_a_month_is_charged_once_with_its_taxes_and_its_use() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000), ask("b", 12_000))
    assert ledger.charged(END + SETTLE - 1) == []
    (charged,) = ledger.charged(END + SETTLE)
    assert (charged.month, charged.from_at, charged.to_at) == ("2026-11", END - 30 * DAY, END)
    assert (charged.net_minor, charged.tax_minor, charged.amount_minor) == (4_900, 931, 5_831)
    assert charged.taxes == (PlanTax(name="VAT", rate_milli=19_000, net_minor=4_900, tax_minor=931),)
    assert (charged.bundle_wh, charged.used_wh, charged.sessions) == (20_000, 20_000, 2)
    assert ledger.charged(END + SETTLE + DAY) == []


def test_months_without_use_are_charged_too() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    until = month_start(NOVEMBER + 3, BERLIN) + SETTLE
    charged = ledger.charged(until)
    assert [(each.month, each.used_wh, each.sessions) for each in charged] == [
        ("2026-11", 12_000, 1),
        ("2026-12", 0, 0),
        ("2027-01", 0, 0),
    ]


def test_each_month_is_charged_two_days_after_its_end_also_while_earlier_ones_are_forgotten() -> None:
    ledger = Ledger()
    october = month_start(NOVEMBER, BERLIN) - HOUR
    ledger.ask(ask("a", 1_000, at=october, month="2026-10"))
    charged = ledger.charged(month_start(NOVEMBER + 5, BERLIN))
    assert [(each.month, each.recorded_at - each.to_at) for each in charged] == [
        (month, SETTLE) for month in ("2026-10", "2026-11", "2026-12", "2027-01", "2027-02")
    ]


def test_a_month_that_is_charged_still_has_its_bundle_and_is_not_charged_again() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    ledger.charged(END + KEEP - DAY)
    due_at = ledger.state.due_at
    assert ledger.ask(ask("b", 12_000, at=END + KEEP - HOUR)) == [8_000]
    assert ledger.state.due_at == due_at
    assert ledger.charged(END + KEEP - HOUR) == []


def test_a_bundle_without_a_fee_is_charged_with_nothing() -> None:
    ledger = Ledger(DriverPlan(group_id="fleet", prepaid_wh=20_000))
    ledger.ask(ask("a", 12_000))
    (charged,) = ledger.charged(END + SETTLE)
    assert (charged.net_minor, charged.tax_minor, charged.amount_minor, charged.taxes) == (0, 0, 0, ())
    assert (charged.bundle_wh, charged.used_wh) == (20_000, 12_000)


@pytest.mark.parametrize(
    ("named_from", "named_until", "charged"),
    [
        (0, END - 30 * DAY, []),
        (0, END - 30 * DAY + 1, ["2026-11"]),
        (END - 1, END + DAY, ["2026-11"]),
        (END, END + DAY, []),
    ],
)
def test_a_month_is_charged_if_its_plan_was_named_at_any_moment_of_it(
    named_from: int, named_until: int, charged: list[str]
) -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    versions = (
        version(),
        version(FLEET, number=2, valid_from=named_from),
        version(number=3, valid_from=named_until),
    )
    ledger.runtime.tables["registry.tariffs"] = tables(*versions)["registry.tariffs"]
    assert [each.month for each in ledger.charged(END + SETTLE)] == charged


def test_a_plan_without_a_bundle_is_charged_and_not_answered() -> None:
    ledger = Ledger(DriverPlan(group_id="fleet", monthly_fee_minor=900))
    assert ledger.ask(ask("a", 12_000, bundle_wh=0)) == []
    assert [each.net_minor for each in ledger.charged(END + SETTLE)] == [900]


def test_a_month_is_charged_two_days_and_closed_92_days_after_its_end() -> None:
    assert (SETTLE, KEEP) == (2 * DAY, 92 * DAY)
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    assert ledger.state.due_at == END + 2 * DAY
    ledger.charged(END + 2 * DAY)
    assert ledger.state.due_at == month_start(NOVEMBER + 2, BERLIN) + 2 * DAY


def test_charging_ends_with_the_plan() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    ends = month_start(NOVEMBER + 1, BERLIN) + 10 * DAY
    ledger.runtime.tables["registry.tariffs"] = tables(version(FLEET), version(number=2, valid_from=ends))[
        "registry.tariffs"
    ]
    months = ledger.charged(month_start(NOVEMBER + 6, BERLIN))
    assert [each.month for each in months] == ["2026-11", "2026-12"]


def test_a_session_of_an_earlier_month_begins_the_plan_earlier() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 1_000))
    assert [each.month for each in ledger.charged(END + SETTLE)] == ["2026-11"]
    ledger.ask(ask("late", 1_000, at=END + SETTLE + DAY, month="2026-10"))
    assert [each.month for each in ledger.charged(END + SETTLE + DAY)] == ["2026-10"]
    after = ledger.charged(month_start(NOVEMBER + 2, BERLIN) + SETTLE)
    assert [each.month for each in after] == ["2026-12"]


def test_when_a_month_is_closed_sessions_keep_what_they_had() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    ledger.charged(END + KEEP)
    assert ledger.state.months == ()
    late = END + KEEP + DAY
    assert ledger.ask(ask("a", 9_000, 2, at=late), ask("b", 9_000, at=late)) == [None, None]
    # Also questions that were recorded before it was closed.
    assert ledger.ask(ask("c", 9_000)) == [None]
    assert ledger.state.months == ()
    assert ledger.runtime.bounded == {"late": 3}
    told = [emit.record for emit in ledger.runtime.emitted if isinstance(emit.record, PrepaidGranted)]
    assert [(each.closed, each.granted_wh) for each in told] == [(False, 12_000)] + 3 * [(True, 0)]
    assert all(each.recorded_at > each.occurred_at for each in told), "after the question"


def test_a_plan_that_has_ended_forgets_its_months_when_they_are_closed() -> None:
    ledger = Ledger()
    ledger.ask(ask("a", 12_000))
    ledger.runtime.tables["registry.tariffs"] = tables(version())["registry.tariffs"]
    assert ledger.charged(END + SETTLE) == []
    assert ledger.state.due_at == END + KEEP
    ledger.charged(END + KEEP)
    assert not ledger.state.months
    assert ledger.state.due_at is None


def test_a_clock_that_is_far_ahead_has_no_share() -> None:
    ledger = Ledger()
    assert ledger.ask(ask("a", 9_000, month="2027-05")) == [None]
    assert ledger.runtime.state_of("fleet\nfleets") is None


def test_what_cannot_be_read_goes_to_dead_letters() -> None:
    ledger = Ledger()
    for bad in (
        msgspec.structs.replace(ask("a", 1), month="November"),
        msgspec.structs.replace(ask("a", 1), timezone="Mars/Olympus"),
        msgspec.structs.replace(ask("a", 1), session_id="no uuid"),
    ):
        ledger.runtime.feed(BILLING_PREPAID_ASKED, "fleet", bad)
    assert len(ledger.runtime.dead) == 3
    ledger.runtime.dead.clear()
    assert ledger.ask(ask("b", 20_000)) == [20_000]


_NAMES = st.sampled_from("abcdef")
_ASKS = st.lists(st.tuples(_NAMES, st.integers(0, 15_000), st.integers(0, 3)), max_size=40)


@given(_ASKS)
def test_a_bundle_is_never_overdrawn_and_never_leaks(asks: list[tuple[str, int, int]]) -> None:
    """Questions, corrections of any revision and repeats: what the sessions have is within the bundle, and
    what one gets is all that was left, or all that it asked for."""
    ledger = Ledger()
    revisions: dict[str, int] = {}
    questions: dict[tuple[str, int], PrepaidAsked] = {}
    has: dict[str, int] = {}
    for name, billed_wh, step in asks:
        newest = revisions.get(name, 0)
        # A step of 0 repeats the newest question; others may leave revisions out, as a lost ledger would see it.
        revision = newest + step if newest else max(1, step)
        question = questions.setdefault((name, revision), ask(name, billed_wh, revision))
        granted = ledger.ask(question)
        if revision == newest:
            assert granted == []
        else:
            others = sum(has.values()) - has.get(name, 0)
            assert granted == [min(question.billed_wh, 20_000 - others)]
            revisions[name], has[name] = revision, granted[0] or 0
        assert sum(has.values()) <= 20_000
    if has:
        (month,) = ledger.state.months
        assert month.drawn_wh == sum(has.values()) == sum(wh for _, wh in month.draws.values())
