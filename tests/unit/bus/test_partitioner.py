"""Keys go where any other Kafka client would write them."""

from aiokafka.partitioner import DefaultPartitioner

from libs.bus.partitioner import partition_of


def test_keys_have_the_partitions_of_the_default_partitioner() -> None:
    every = list(range(12))
    keys = [f"station-{number}".encode() for number in range(200)] + [b"", b"\xff" * 7]
    assert [partition_of(key, 12) for key in keys] == [
        DefaultPartitioner()(key, every, every) for key in keys
    ]
