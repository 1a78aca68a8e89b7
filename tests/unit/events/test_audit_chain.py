"""The chain of audit events: whatever is done to an export shows, and what is harmless does not."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from libs.events.audit import AuditKind, AuditOutcome, AuditPrincipalKind, AuditRecorded
from libs.events.audit_chain import Verdict, canonical, chained, check, digest, event_of, head_of, line_of

SECOND = 1_000_000


def event(number: int, kind: AuditKind = AuditKind.REQUEST, **fields: object) -> AuditRecorded:
    at = 1_790_000_000_000_000 + number * SECOND
    base = AuditRecorded(
        event_id=f"e{number}",
        occurred_at=at,
        recorded_at=at,
        cause_id=f"e{number}",
        writer_id="",
        sequence=0,
        kind=kind,
        outcome=AuditOutcome.DONE,
        principal="anna",
        principal_kind=AuditPrincipalKind.KEY,
    )
    return replace(base, **fields)


def chain(writer_id: str, length: int, start: int = 0) -> list[AuditRecorded]:
    made: list[AuditRecorded] = []
    for number in range(length):
        kind = AuditKind.REQUEST if number else AuditKind.CHAIN_STARTED
        one = event(start + number, kind, writer_id=writer_id)
        made.append(chained(one, made[-1] if made else None))
    return made


def anchored(*ends: AuditRecorded, at: int = 50) -> list[AuditRecorded]:
    """A chain of another writer that names these ends."""
    start = chain("w-anchors", 1, at)
    anchor = event(at + 1, AuditKind.ANCHOR, writer_id="w-anchors", heads=tuple(map(head_of, ends)))
    return [*start, chained(anchor, start[0])]


def told(verdict: Verdict) -> list[tuple[int, str]]:
    return [(each.sequence, each.what) for each in verdict.findings]


def test_a_whole_chain_is_sound_in_any_order_and_given_twice() -> None:
    events = chain("w1", 10)
    assert check(events).sound
    shuffled = [*events, *events]
    random.Random(1).shuffle(shuffled)
    verdict = check(shuffled)
    assert verdict.sound
    assert (verdict.events, verdict.duplicates) == (10, 10)
    assert [(each.first, each.last) for each in verdict.chains] == [(0, 9)]


def test_a_line_gives_back_the_event() -> None:
    for each in anchored(chain("w1", 3)[-1]):
        assert event_of(line_of(each)) == each
        assert digest(event_of(line_of(each))) == each.hash


@pytest.mark.parametrize("line", ["", "{}", "[]", "nonsense", '{"event_id": 1}', "\x00"])
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        event_of(line)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("principal", "ben"),
        ("outcome", AuditOutcome.REFUSED),
        ("recorded_at", 1),
        ("reason", "because"),
        ("count", 2),
    ],
)
def test_a_changed_field_is_found_at_its_event(field: str, value: object) -> None:
    events = chain("w1", 10)
    events[4] = replace(events[4], **{field: value})
    assert [sequence for sequence, _ in told(check(events))] == [4]


def test_an_event_with_a_new_hash_is_found_at_the_event_after_it() -> None:
    events = chain("w1", 10)
    forged = replace(events[4], principal="ben", hash="")
    events[4] = replace(forged, hash=digest(forged))
    assert told(check(events)) == [(5, "it does not follow the event before it")]


@pytest.mark.parametrize(("gone", "said"), [([4], "4"), ([4, 5, 6], "4 to 6")])
def test_a_gap_is_found(gone: list[int], said: str) -> None:
    events = [each for each in chain("w1", 10) if each.sequence not in gone]
    assert told(check(events)) == [(gone[-1] + 1, f"missing before it: {said}")]


def test_two_events_of_one_place_are_found() -> None:
    events = chain("w1", 5)
    other = chained(replace(events[3], principal="ben"), events[2])
    assert told(check([*events, other])) == [(3, "two different events have this place")]


def test_a_part_of_a_chain_is_sound_and_says_where_it_begins() -> None:
    verdict = check(chain("w1", 10)[4:])
    assert verdict.sound
    assert verdict.chains[0].first == 4


def test_a_chain_whose_beginning_was_replaced_is_found() -> None:
    events = chain("w1", 3)
    forged = chained(event(1, writer_id="w1"), None)
    assert [sequence for sequence, _ in told(check([forged, *events[1:]]))][:1] == [0]


def test_a_missing_end_is_found_by_an_anchor_and_only_by_it() -> None:
    events = chain("w1", 10)
    assert check(events[:7]).sound
    ((sequence, what),) = told(check([*events[:7], *anchored(events[8])]))
    assert sequence == 8
    assert what.startswith("missing at the end of the chain: 7 to 8, as w-anchors")


def test_a_missing_chain_is_found_by_an_anchor() -> None:
    others, gone = chain("w1", 5), chain("w2", 5, 10)
    ((_, what),) = told(check([*others, *anchored(gone[-1])]))
    assert what.startswith("the whole chain is missing")


def test_what_ended_before_an_export_begins_is_not_missed() -> None:
    old = chain("w0", 5)
    assert check([*chain("w1", 5, 10), *anchored(old[-1])]).sound
    assert check([*chain("w1", 20)[12:], *anchored(chain("w1", 20)[3])]).sound


def test_a_chain_that_was_written_anew_is_found_by_an_anchor() -> None:
    former = chain("w1", 10)
    anew = chain("w1", 4)
    for number in range(4, 10):
        anew.append(chained(event(number, writer_id="w1", principal="ben"), anew[-1]))
    assert check(anew).sound
    assert told(check([*anew, *anchored(former[8])]))[0][1].startswith("it was another event")


def test_a_field_that_a_later_release_adds_changes_no_hash() -> None:
    """What has its default is not in the canonical form."""
    one = event(1)
    assert b'"reason"' not in canonical(one)
    assert digest(one) == digest(replace(one, reason="", count=1, heads=()))
    assert digest(one) != digest(replace(one, reason="x"))
