"""What can go wrong on the bus."""


class BusError(Exception):
    """Base of the bus's errors."""


class BusUnavailableError(BusError):
    """Kafka did not acknowledge in time; whether the record was written is not known."""


class ContractMismatchError(BusError):
    """Kafka or the schema registry does not hold what the contract says; the message names the remedy."""


class ClaimLostError(BusError):
    """Kafka refused a transaction, as when another process claimed its id; whether it was committed is not known."""
