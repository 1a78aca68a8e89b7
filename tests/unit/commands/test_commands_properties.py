"""Whatever the order in which the log's topics are read: one fate per command, one dispatch in flight."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.message import Emit
from libs.events.commands import CommandConcluded, DispatchCommand, Fate
from libs.events.ocpp_log import CallOutcome, RefusalReason
from tests.unit.commands.test_commands import Given, Ledgers, located, refused, request, sent

FAR = 1_000_000

COMMANDS = st.sampled_from(["c1", "c2", "c3", "c4"])
SECONDS = st.integers(0, 120)
ATTEMPTS = st.integers(1, 3)
RECORDS: st.SearchStrategy[Given] = st.one_of(
    st.builds(request, COMMANDS, SECONDS, st.integers(1, 200)),
    st.builds(
        lambda epoch, seconds, connected: located(epoch, seconds, connected=connected, slot=epoch),
        st.integers(1, 4),
        SECONDS,
        st.booleans(),
    ),
    st.builds(
        lambda command, seconds, attempt, outcome: sent(command, seconds, attempt=attempt, outcome=outcome),
        COMMANDS,
        SECONDS,
        ATTEMPTS,
        st.sampled_from(CallOutcome),
    ),
    st.builds(
        lambda command, seconds, reason, attempt: refused(command, seconds, reason, attempt=attempt),
        COMMANDS,
        SECONDS,
        st.sampled_from(RefusalReason),
        ATTEMPTS,
    ),
)


def requested(records: list[Given]) -> set[str]:
    from libs.events.commands import RequestCommand

    return {record.event_id for record in records if isinstance(record, RequestCommand)}


def concluded(out: list[Emit]) -> list[str]:
    return [e.record.command_id for e in out if isinstance(e.record, CommandConcluded)]


@settings(max_examples=300, deadline=None)
@given(st.lists(RECORDS, max_size=25), st.randoms(use_true_random=False))
def test_exactly_one_fate_in_any_interleaving_with_repetitions(records: list[Given], random: object) -> None:
    shuffled = records + records[::2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (records, shuffled):
        ledgers = Ledgers(*order)
        # A location ends every wait for one; then only clocks are left to decide.
        ledgers.feed(located(99, 200))
        ledgers.tick(FAR)
        assert sorted(concluded(ledgers.runtime.emitted)) == sorted(requested(records))
        assert ledgers.runtime.dead == []


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=25))
def test_a_repeated_message_changes_nothing(records: list[Given]) -> None:
    once = Ledgers()
    twice = Ledgers()
    for record in records:
        assert once.feed(record) == twice.feed(record)
        assert twice.feed(record) == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_in_flight_in_order_whatever_the_edges_do(data: st.DataObject) -> None:
    """Edges answer each dispatch, refuse it, or die; the next dispatch comes only after word of the last."""
    ledgers = Ledgers(located(1, 0))
    names = [f"c{number}" for number in range(data.draw(st.integers(1, 5)))]
    second, epoch, flying = 1.0, 1, ""
    first_dispatch: list[str] = []
    pending = list(names)

    def observe(out: list[Emit]) -> None:
        nonlocal flying
        for emit in out:
            if isinstance(emit.record, CommandConcluded) and emit.record.command_id == flying:
                flying = ""
            if isinstance(emit.record, DispatchCommand):
                assert flying == ""
                flying = emit.record.command_id
                attempts[flying] = emit.record.attempt
                if flying not in first_dispatch:
                    first_dispatch.append(flying)

    attempts: dict[str, int] = {}
    for _ in range(40):
        second += data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        act = data.draw(st.sampled_from(["request", "result", "refuse", "move", "wait", "lost"]))
        if act == "request" and pending:
            observe(ledgers.feed(request(pending.pop(0), second, ttl_s=30)))
        elif act == "move":
            epoch += 1
            observe(ledgers.feed(located(epoch, second, slot=epoch % 4)))
        elif act == "wait":
            observe(ledgers.tick(second))
        elif flying and act in ("result", "lost"):
            outcome = CallOutcome.RESULT if act == "result" else CallOutcome.CONNECTION_LOST
            observe(ledgers.feed(sent(flying, second, attempt=attempts[flying], outcome=outcome)))
        elif flying and act == "refuse":
            command, flying = flying, ""
            reason = data.draw(st.sampled_from([RefusalReason.NOT_HERE, RefusalReason.TOO_LATE]))
            observe(ledgers.feed(refused(command, second, reason, attempt=attempts[command])))
    observe(ledgers.tick(FAR))
    fates = [e.record for e in ledgers.runtime.emitted if isinstance(e.record, CommandConcluded)]
    assert sorted(f.command_id for f in fates) == sorted(set(names) - set(pending))
    assert first_dispatch == sorted(first_dispatch)
    never_sent = {f.command_id for f in fates if f.attempts == 0}
    assert all(f.fate is Fate.EXPIRED for f in fates if f.command_id in never_sent)
