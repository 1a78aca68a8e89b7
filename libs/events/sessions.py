"""Charging sessions and charge records.

One class per Avro schema of the same name, and two for what they have in common; the schemas carry each field's
meaning and unit.
"""

from libs.events.record import Part, Record


class OfSession(Record, frozen=True, kw_only=True):
    """What every record of a session says."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None


class OfWholeSession(OfSession, frozen=True, kw_only=True):
    """What every record of a complete session says."""

    started_at: int
    ended_at: int
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int
    billed_wh: int = 0
    review_wh: int = 0
    exported_wh: int = 0
    reason: str = ""
    review: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()


class SessionStarted(OfSession, frozen=True, kw_only=True):
    """A charging session began."""

    version: str
    started_at: int
    meter_start_wh: int | None = None


class SessionUpdated(OfSession, frozen=True, kw_only=True):
    """What a running session has delivered so far."""

    energy_wh: int
    meter_wh: int | None = None
    charging_state: str | None = None


class SessionEnded(OfWholeSession, frozen=True, kw_only=True):
    """A session is complete."""


class SessionCorrected(OfWholeSession, frozen=True, kw_only=True):
    """Evidence that came late changed an ended session; replaces SessionEnded and earlier corrections."""

    version: int


class CdrLine(Part, frozen=True, kw_only=True):
    """One line of a charge record."""

    kind: str
    quantity: int
    unit: str
    price_milli: int
    amount_minor: int


class CdrIssued(OfWholeSession, frozen=True, kw_only=True):
    """A charge detail record. Versions are immutable; the highest counts."""

    cdr_id: str
    version: int
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    amount_minor: int
    lines: tuple[CdrLine, ...] = ()
