"""The base of every event and command record."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A frozen record with the fields of the Avro schema of the same name.

    Timestamps are microseconds since the Unix epoch (UTC), energy is Wh, `*_milli` are thousandths,
    `*_ma` milliampere, `*_minor` minor currency units. Build a changed copy with `msgspec.structs.replace`.
    """
