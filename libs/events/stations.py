"""What is known of stations beyond what operators configured.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import NestedRecord, Record


class KnownVariable(NestedRecord, frozen=True, kw_only=True):
    """A configuration key (1.6) or Component.Variable (2.x) that limits what a charger can be asked."""

    name: str
    value: str


class CapabilitiesLearned(Record, frozen=True, kw_only=True):
    """What is known of a station's equipment and abilities, learned from what it said."""

    station_id: str
    version: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    features: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    variables: tuple[KnownVariable, ...] = ()
