"""States of a partition: encoded once a transaction, restored without being decoded."""

from typing import Any

import msgspec
import pytest

from libs.bus import metrics, states
from libs.bus.encoding import EncodedRecord, RecordTooLargeError
from libs.bus.message import Message
from libs.bus.processor import MOST_STATE_BYTES, Processor, Step, Tables, Tick
from libs.bus.settings import MAX_RECORD_BYTES
from libs.bus.shapes import fingerprint
from libs.bus.state_codec import StateCodec
from libs.bus.states import States
from tests.metrics import value_of


class Count(msgspec.Struct, frozen=True):
    number: int
    due_at: int | None = None
    text: str = ""


class Counter(Processor[Count]):
    name = "counter"
    inputs = ("a",)
    outputs = ()
    state = Count
    unmarked_state = fingerprint(Count)

    def step(self, state: Count | None, event: Message | Tick, tables: Tables) -> Step[Count]:
        raise NotImplementedError

    def due(self, state: Count) -> int | None:
        return state.due_at


COUNTER = Counter()
CODEC = StateCodec(COUNTER)


def restored(*records: EncodedRecord) -> States[Count]:
    found = States(COUNTER, CODEC)
    for record in records:
        found.load(record.key.decode(), record.value, record.headers)
    found.loaded("state.counter", 3)
    return found


def test_a_state_is_written_once_however_often_it_changed() -> None:
    kept = States(COUNTER, CODEC)
    for number in range(5):
        kept.put("a", Count(number))
        assert kept.get("a") == Count(number)
    (record,) = kept.encode_changes("topic", 3)
    assert (record.topic, record.key, record.partition) == ("topic", b"a", 3)
    assert msgspec.msgpack.decode(record.value or b"", type=Count) == Count(4)
    assert kept.get("a") == Count(4)
    assert not kept.changed
    assert kept.encode_changes("topic", 3) == []


def test_what_is_forgotten_leaves_a_tombstone() -> None:
    kept = States(COUNTER, CODEC)
    kept.put("a", Count(1))
    kept.encode_changes("topic", 0)
    kept.put("a", None)
    assert kept.get("a") is None
    (record,) = kept.encode_changes("topic", 0)
    assert record.value is None
    assert kept.get("a") is None
    assert len(kept) == 0


def test_states_beyond_those_that_are_kept_ready_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "DECODED_STATES", 3)
    kept = States(COUNTER, CODEC)
    for number in range(10):
        kept.put(f"key-{number}", Count(number))
    kept.encode_changes("topic", 0)
    assert [kept.get(f"key-{number}") for number in range(10)] == [Count(number) for number in range(10)]
    assert len(kept) == 10


def test_timers_are_restored_from_headers() -> None:
    kept = States(COUNTER, CODEC)
    for key, due in (("late", 300), ("soon", 100), ("never", None), ("later", 200)):
        kept.put(key, Count(1, due))
    records = kept.encode_changes("topic", 0)
    again = restored(*records)
    assert again.take_due(250) == ["soon", "later"]
    assert again.take_due(1000) == ["late"]


def test_only_the_last_record_of_a_key_sets_its_timer() -> None:
    kept = States(COUNTER, CODEC)
    kept.put("a", Count(1, 100))
    kept.put("b", Count(1, 100))
    first = kept.encode_changes("topic", 0)
    kept.put("a", Count(2, 500))
    kept.put("b", None)
    again = restored(*first, *kept.encode_changes("topic", 0))
    assert again.take_due(499) == []
    assert again.take_due(500) == ["a"]


def test_a_record_without_headers_is_asked_for_its_timer() -> None:
    record = EncodedRecord("topic", b"a", msgspec.msgpack.encode(Count(1, 100)), 0, [])
    assert restored(record).take_due(100) == ["a"]


def test_a_state_too_large_for_the_topic_is_refused() -> None:
    kept = States(COUNTER, CODEC)
    large = Count(1, None, "x" * MAX_RECORD_BYTES)
    with pytest.raises(RecordTooLargeError):
        kept.encode(large)
    kept.put("a", large)
    with pytest.raises(RecordTooLargeError):
        kept.encode_changes("topic", 0)


def test_a_state_that_grows_beyond_what_its_processor_declares_is_told_of_once() -> None:
    kept, told = States(COUNTER, CODEC), metrics.STATES_TOO_LARGE.labels("counter")
    before = value_of(told)
    for text in ("x", "x" * MOST_STATE_BYTES, "y" * MOST_STATE_BYTES, "x"):
        kept.put("a", Count(1, None, text))
        kept.encode_changes("topic", 0)
    assert value_of(told) == before + 1


@pytest.mark.parametrize("due", [b"soon", b"\0" * 9, None])
def test_a_due_time_that_is_none_is_asked_of_the_state(due: bytes | None) -> None:
    kept = States(COUNTER, CODEC)
    kept.put("a", Count(1, 100))
    (record,) = kept.encode_changes("topic", 3)
    headers: list[Any] = [(name, due if name == "due" else value) for name, value in record.headers]
    again = restored(record._replace(headers=headers))
    assert again.take_due(99) == []
    assert again.take_due(100) == ["a"]
