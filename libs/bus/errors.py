"""What can go wrong on the bus, by what has to be done about it (`docs/processors.md`, "Errors").

A BusUnavailableError is waited for. A CodecError or whatever a processor raises makes a dead letter, up to a limit. A
PartitionError stops its partition, a StateShapeError or a ContractMismatchError the process.
"""

from collections.abc import Collection, Mapping


class BusError(Exception):
    """Base of the bus's errors."""


class BusUnavailableError(BusError):
    """Kafka or the schema registry does not answer, or refuses for now. What was being written may be there or not."""


class SchemaUnavailableError(BusUnavailableError):
    """What `schema_id` is cannot be told now."""

    def __init__(self, schema_id: int, why: str) -> None:
        super().__init__(f"schema id {schema_id}: {why}")
        self.schema_id = schema_id


class ContractMismatchError(BusError):
    """Kafka or the schema registry does not hold what the contract says; the message names the remedy."""


class ClaimLostError(BusError):
    """Kafka refused a transaction, as when another process claimed its id; whether it was committed is not known."""


class PartitionError(BusError):
    """To go on would leave holes in the history of many keys: the partition stands still until a person decides."""

    reason = "error"
    """For the metric of stopped partitions."""


class StateError(PartitionError):
    """A stored state that cannot be read."""

    reason = "state"


class TooManyFailuresError(PartitionError):
    """More records of a partition failed in a short time than may become dead letters."""

    reason = "failures"


class StateShapeError(BusError):
    """States of a shape that this version neither has nor knows an upcast from. The process ends and makes room.

    `stored`: how many keys have which other fingerprint; None for states without one. `expected`: what this version
    reads.
    """

    def __init__(
        self,
        processor: str,
        topic: str,
        partition: int,
        stored: Mapping[str | None, int],
        expected: Collection[str],
    ) -> None:
        found = ", ".join(f"{keys} keys of {shape or 'no fingerprint'}" for shape, keys in stored.items())
        super().__init__(
            f"{processor} cannot read its states in partition {partition} of {topic}: {found}. This version reads "
            f"{' and '.join(expected)}. Run the version that wrote them, or one with an upcast from them"
        )
        self.processor = processor
        self.topic = topic
        self.partition = partition
        self.stored = dict(stored)
        self.expected = tuple(expected)
