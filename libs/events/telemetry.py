"""Canonical measurements, station state and health.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import NestedRecord, Record


class Sample(NestedRecord, frozen=True, kw_only=True):
    """One sampled value in canonical form."""

    sampled_at: int
    measurand: str
    phase: str | None = None
    location: str | None = None
    context: str | None = None
    value_milli: int
    unit: str
    quirks: tuple[str, ...] = ()


class MeasurementsTaken(Record, frozen=True, kw_only=True):
    """Every meter value of one OCPP message in canonical units. cause_id is the OcppCallReceived record."""

    station_id: str
    evse_id: int
    connector_id: int | None = None
    transaction_id: str | None = None
    samples: tuple[Sample, ...]


class ConnectorState(NestedRecord, frozen=True, kw_only=True):
    """State of one connector."""

    evse_id: int
    connector_id: int
    status: str
    error_code: str
    since: int


class StationStateChanged(Record, frozen=True, kw_only=True):
    """What is known of a station, whole, whenever something of it changed."""

    station_id: str
    connected: bool
    version: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_version: str = ""
    connectors: tuple[ConnectorState, ...] = ()
    last_boot_at: int | None = None


class HealthWindowClosed(Record, frozen=True, kw_only=True):
    """Counts over one window of a station's life."""

    station_id: str
    window_start: int
    window_end: int
    calls: int
    boots: int
    disconnects: int
    faults: int
    quirks: int
    rejected: int = 0
