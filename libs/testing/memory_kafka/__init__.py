"""Kafka in memory: a broker with consumer groups and transactions, and clients that speak aiokafka's interface.

For unit tests of code that reads and writes topics, of its error branches above all (`MemoryBroker.fail`). Only what
the platform uses is here; `tests/integration/test_kafka_clients.py` runs the same cases on it and on a real broker.
"""

from libs.testing.memory_kafka.broker import MemoryBroker
from libs.testing.memory_kafka.clients import MemoryConsumer, MemoryProducer

__all__ = ["MemoryBroker", "MemoryConsumer", "MemoryProducer"]
