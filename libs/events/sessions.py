"""Charging sessions and charge records.

One class per Avro schema of the same name, and three for what they have in common; the schemas carry each field's
meaning and unit.
"""

from libs.events.record import NestedRecord, Record


class SessionRecord(Record, frozen=True, kw_only=True):
    """Fields of every record about a session."""

    station_id: str
    session_id: str
    evse_id: int
    transaction_id: str
    site_id: str | None = None
    id_token: str | None = None


class CompletedSession(SessionRecord, frozen=True, kw_only=True):
    """Fields of every record about a completed session."""

    started_at: int
    ended_at: int
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int
    billed_wh: int = 0
    review_wh: int = 0
    written_off_wh: int = 0
    exported_wh: int = 0
    reason: str = ""
    review: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    charging_s: int = 0
    suspended_s: int = 0
    idle_s: int = 0
    decision_id: str | None = None
    decided_by: str | None = None
    token_refusal: str = ""


class SessionStarted(SessionRecord, frozen=True, kw_only=True):
    """A charging session began."""

    version: str
    started_at: int
    meter_start_wh: int | None = None
    trigger: str = ""


class SessionUpdated(SessionRecord, frozen=True, kw_only=True):
    """What a running session has delivered so far."""

    energy_wh: int
    meter_wh: int | None = None
    charging_state: str | None = None
    trigger: str = ""
    revision: int = 0


class SessionReopened(SessionRecord, frozen=True, kw_only=True):
    """A session that a rule had closed goes on; its next end is a SessionCorrected."""

    started_at: int
    energy_wh: int
    meter_wh: int | None = None
    charging_state: str | None = None
    trigger: str = ""
    revision: int


class SessionEnded(CompletedSession, frozen=True, kw_only=True):
    """A session is complete."""


class SessionCorrected(CompletedSession, frozen=True, kw_only=True):
    """Evidence that came late changed an ended session; replaces SessionEnded and earlier corrections."""

    version: int


class CdrLine(NestedRecord, frozen=True, kw_only=True):
    """One line of a charge record."""

    kind: str
    quantity: int
    unit: str
    price_milli: int
    amount_minor: int
    net_minor: int = 0
    tax_minor: int = 0
    from_at: int = 0
    to_at: int = 0


class CdrTax(NestedRecord, frozen=True, kw_only=True):
    """One tax of a charge record."""

    name: str
    rate_milli: int
    net_minor: int
    tax_minor: int


class CdrSource(NestedRecord, frozen=True, kw_only=True):
    """Where the evidence of a charge record is in the log."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


class CdrReading(NestedRecord, frozen=True, kw_only=True):
    """A register that a charge record was made from."""

    at: int
    wh: int


class CdrInterval(NestedRecord, frozen=True, kw_only=True):
    """A stretch of a session with the energy that was billed of it; it begins where the one before ends."""

    to_at: int
    energy_wh: int
    kind: str


class BillingDocument(CompletedSession, frozen=True, kw_only=True):
    """Fields of charge records and credit notes. `hash` covers all others, so also the station's previous document."""

    cdr_id: str
    version: int
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    group_id: str | None = None
    prepaid_wh: int = 0
    amount_minor: int
    net_minor: int = 0
    tax_minor: int = 0
    previous_hash: str = ""
    hash: str = ""
    hash_version: int = 1


class CdrIssued(BillingDocument, frozen=True, kw_only=True):
    """A charge detail record. Versions are immutable; the highest counts."""

    lines: tuple[CdrLine, ...] = ()
    taxes: tuple[CdrTax, ...] = ()
    sources: tuple[CdrSource, ...] = ()
    readings: tuple[CdrReading, ...] = ()
    max_power_w: int | None = None
    intervals: tuple[CdrInterval, ...] = ()
    timezone: str | None = None


class CdrCredited(BillingDocument, frozen=True, kw_only=True):
    """A credit note: takes back a version of a charge record, before the next one is issued. Amounts are negative."""

    credited_hash: str
