"""Where a changelog ends after a transaction, by what was acknowledged of it."""

from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata

from libs.bus.encoding import EncodedRecord
from libs.bus.restoring import changelog_end


def batch(topic: str, partition: int, offset: int) -> RecordMetadata:
    return RecordMetadata(topic, partition, TopicPartition(topic, partition), offset, 0, 0, 0)


def test_it_ends_after_the_records_and_the_marker_of_the_transaction() -> None:
    changes = [EncodedRecord("state.x", key.encode(), b"s", 1, []) for key in "abc"]
    written = [batch("out", 1, 70), batch("state.x", 1, 12), batch("state.x", 1, 10), batch("state.x", 0, 5)]
    assert changelog_end(changes, written) == 14


def test_it_is_not_known_if_the_broker_does_not_say_where_a_batch_is() -> None:
    changes = [EncodedRecord("state.x", key.encode(), b"s", 1, []) for key in "abc"]
    assert changelog_end(changes, [batch("state.x", 1, -1), batch("state.x", 1, 12)]) is None
