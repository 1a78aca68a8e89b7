"""What a transaction holds at most."""

from libs.bus.transactions import BATCH_BYTES, BATCH_RECORDS, Batch


def test_a_batch_is_full_of_many_messages_or_of_large_ones() -> None:
    batch = Batch()
    assert not batch.full
    batch.messages = BATCH_RECORDS
    assert batch.full
    batch = Batch()
    batch.messages, batch.bytes = 64, BATCH_BYTES
    assert batch.full
