"""Charging sessions and charge records.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import Part, Record


class SessionStarted(Record, frozen=True, kw_only=True):
    """A charging session began."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None
    version: str
    started_at: int
    meter_start_wh: int | None = None


class SessionUpdated(Record, frozen=True, kw_only=True):
    """What a running session has delivered so far."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None
    energy_wh: int
    meter_wh: int | None = None
    charging_state: str | None = None


class SessionEnded(Record, frozen=True, kw_only=True):
    """A session is complete."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None
    started_at: int
    ended_at: int
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int
    reason: str = ""
    review: tuple[str, ...] = ()


class SessionCorrected(Record, frozen=True, kw_only=True):
    """Evidence that came late changed an ended session; replaces SessionEnded and earlier corrections."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None
    version: int
    started_at: int
    ended_at: int
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int
    reason: str = ""
    review: tuple[str, ...] = ()


class CdrLine(Part, frozen=True, kw_only=True):
    """One line of a charge record."""

    kind: str
    quantity: int
    unit: str
    price_milli: int
    amount_minor: int


class CdrIssued(Record, frozen=True, kw_only=True):
    """A charge detail record. Versions are immutable; the highest counts."""

    station_id: str
    cdr_id: str
    version: int
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None
    started_at: int
    ended_at: int
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int
    reason: str = ""
    review: tuple[str, ...] = ()
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    amount_minor: int
    lines: tuple[CdrLine, ...] = ()
