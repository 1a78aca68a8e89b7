"""Room for a station's commands: what finds none has its fate at once, and nothing grows."""

from __future__ import annotations

import json

from msgspec import msgpack
from msgspec.structs import replace

from libs.events.commands import CommandDialect, Fate
from libs.ocpp.semantics.commands import GetVariables, Variable
from libs.ocpp.semantics.dialect import to_request
from services.commands.domain.ledger.ledger import (
    MOST_EARLY_BYTES,
    MOST_MESSAGE_BYTES,
    MOST_RESULT_BYTES,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    REMEMBERED_EVIDENCE,
)
from services.commands.domain.ledger.processor import CommandsProcessor
from tests.unit.commands.test_commands import (
    STATION,
    Ledgers,
    dispatches,
    fates,
    located,
    one_fate,
    request,
    sent,
)

MEGABYTE = json.dumps({"data": "x" * 1_000_000})


def size_of(ledgers: Ledgers) -> int:
    return len(msgpack.encode(ledgers.runtime.state_of(STATION)))


def test_commands_of_a_megabyte_to_an_offline_station_all_have_one_fate_and_none_is_lost() -> None:
    ledgers = Ledgers()
    told = [fate for n in range(5) for fate in fates(ledgers.feed(request(f"c{n}", n, payload=MEGABYTE)))]
    assert told == [("c2", Fate.FAILED), ("c3", Fate.FAILED), ("c4", Fate.FAILED)]
    assert size_of(ledgers) < CommandsProcessor.max_state_bytes
    assert ledgers.runtime.bounded == {"waiting": 3}
    assert sorted(fates(ledgers.tick(100))) == [("c0", Fate.EXPIRED), ("c1", Fate.EXPIRED)]


def test_a_command_for_which_there_is_no_room_says_why() -> None:
    ledgers = Ledgers(*(request(f"c{n}", 0) for n in range(MOST_WAITING)))
    assert one_fate(ledgers.feed(request("late", 1))).reason == f"too many waiting: {MOST_WAITING} commands"
    alone = one_fate(Ledgers().feed(request("c", 0, payload="x" * MOST_WAITING_BYTES)))
    assert (alone.fate, alone.reason.endswith(f"more than {MOST_WAITING_BYTES}")) == (Fate.FAILED, True)


def test_room_is_counted_in_bytes_whatever_the_script() -> None:
    ledgers = Ledgers(request("c0", 0, payload="é" * (MOST_WAITING_BYTES // 4)))
    assert fates(ledgers.feed(request("c1", 1, payload="é" * (MOST_WAITING_BYTES // 4)))) == [
        ("c1", Fate.FAILED)
    ]


def test_a_command_that_was_refused_for_room_has_no_second_fate_once_there_is_room() -> None:
    ledgers = Ledgers(*(request(f"c{n}", 0) for n in range(MOST_WAITING)))
    assert fates(ledgers.feed(request("late", 1))) == [("late", Fate.FAILED)]
    ledgers.tick(100)
    assert ledgers.feed(request("late", 1)) == []


def test_commands_that_are_refused_for_room_do_not_make_it_forget_those_that_were_sent() -> None:
    ledgers = Ledgers(located(1, 0), request("done", 1), sent("done", 2), located(2, 3, connected=False))
    for number in range(MOST_WAITING + 1_000):
        ledgers.feed(request(f"c{number}", 4))
    assert ledgers.feed(request("done", 5)) == []


def test_a_newer_command_of_its_kind_finds_the_room_of_the_one_that_it_replaces() -> None:
    ledgers = Ledgers(*(request(f"c{n}", 0, replaces=f"kind-{n}") for n in range(MOST_WAITING)))
    assert fates(ledgers.feed(request("newer", 1, replaces="kind-7"))) == [("c7", Fate.EXPIRED)]


def test_an_id_of_any_length_leaves_nothing_behind() -> None:
    ledgers = Ledgers()
    assert fates(ledgers.feed(request("x" * 300_000, 0)))[0][1] is Fate.FAILED
    assert ledgers.runtime.state_of(STATION) is None or size_of(ledgers) < 1_000


def test_early_results_keep_their_fates_though_not_all_of_their_words() -> None:
    ledgers = Ledgers()
    word = json.dumps({"status": "Accepted", "data": "x" * 100_000})
    for number in range(REMEMBERED_EVIDENCE):
        ledgers.feed(sent(f"c{number}", number, result=word))
    assert size_of(ledgers) < MOST_EARLY_BYTES + REMEMBERED_EVIDENCE * 1_000
    assert ledgers.runtime.bounded["early"] > 0
    first, last = (one_fate(ledgers.feed(request(f"c{n}", 0, ttl_s=9_999))) for n in (0, 255))
    assert (first.fate, first.result) == (Fate.ACCEPTED, "{}")
    assert (last.fate, last.result) == (Fate.ACCEPTED, word)


def test_a_message_that_no_charger_takes_is_not_sent() -> None:
    ledgers = Ledgers(located(1, 0))
    out = ledgers.feed(request("large", 1, payload="x" * (MOST_MESSAGE_BYTES + 1)))
    assert dispatches(out) == []
    assert "more than" in one_fate(out).reason


def test_results_of_several_messages_end_where_they_take_too_much_together() -> None:
    names = tuple(Variable(f"K{n}") for n in range(10))
    action, payload = to_request(GetVariables(names))
    wish = request("ask", 1, 9_999, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    ledgers = Ledgers(located(1, 0))
    told: list[tuple[str, Fate]] = []
    out = ledgers.feed(wish)
    answer = json.dumps({"configurationKey": [{"key": "K", "readonly": True, "value": "v" * 250_000}]})
    for number in range(1, 10):
        (dispatch,) = dispatches(out)
        asked = json.dumps({"key": [f"K{number}"]})
        out = ledgers.feed(
            replace(
                sent("ask", 2 + number, attempt=number, action=dispatch.action, result=answer), payload=asked
            )
        )
        if told := fates(out):
            break
    assert told == [("ask", Fate.FAILED)]
    concluded = one_fate(out)
    assert concluded.reason == f"its results take more than {MOST_RESULT_BYTES} bytes, after 3 of 10 items"
    assert len(concluded.result or "") < MOST_RESULT_BYTES


def test_each_of_a_thousand_commands_has_one_fate() -> None:
    ledgers = Ledgers()
    told = [fate for n in range(1_000) for fate in fates(ledgers.feed(request(f"c{n}", n / 100)))]
    told += fates(ledgers.tick(1_000))
    assert sorted(told) == sorted(dict(told).items())
    assert len(told) == 1_000
    assert size_of(ledgers) <= CommandsProcessor.max_state_bytes
