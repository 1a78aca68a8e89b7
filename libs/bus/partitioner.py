"""Which partition a key belongs to, as Kafka's default partitioner has it."""

from functools import lru_cache

from aiokafka.partitioner import murmur2

# In Python the hash takes longer than the rest of a send, and keys repeat: they are stations.
_hash_of = lru_cache(maxsize=1 << 17)(murmur2)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that producers write `key` to, of so many."""
    partition: int = (_hash_of(key) & 0x7FFFFFFF) % partitions
    return partition
