"""What can go wrong on the bus, by what has to be done about it (`docs/processors.md`, "Errors").

A BusUnavailableError is waited for. A CodecError or whatever a processor raises makes a dead letter, up to a limit. A
PartitionError stops its partition.
"""


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
