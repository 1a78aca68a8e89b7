"""Latest states: one record per key, for consumers that do not fold.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import Record
from libs.events.sessions import CompletedSession, SessionRecord
from libs.events.telemetry import ConnectorState


class SessionLatest(SessionRecord, frozen=True, kw_only=True):
    """What is known of a session now."""

    running: bool
    revision: int
    started_at: int
    ended_at: int | None = None
    meter_start_wh: int | None = None
    meter_wh: int | None = None
    energy_wh: int
    billed_wh: int = 0
    review_wh: int = 0
    written_off_wh: int = 0
    exported_wh: int = 0
    charging_state: str | None = None
    reason: str = ""
    review: tuple[str, ...] = ()
    charging_s: int = 0
    suspended_s: int = 0
    idle_s: int = 0
    decision_id: str | None = None
    token_refusal: str = ""
    cdr_version: int = 0
    tariff_id: str | None = None
    tariff_version: int | None = None
    group_id: str | None = None
    currency: str | None = None
    amount_minor: int | None = None
    net_minor: int | None = None
    tax_minor: int | None = None


class CdrLatest(CompletedSession, frozen=True, kw_only=True):
    """What a charge record says now."""

    cdr_id: str
    version: int
    credited: bool
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    group_id: str | None = None
    prepaid_wh: int = 0
    amount_minor: int
    net_minor: int = 0
    tax_minor: int = 0
    hash: str = ""


class StationLatest(Record, frozen=True, kw_only=True):
    """What is known of a station now."""

    station_id: str
    connected: bool
    version: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_version: str = ""
    connectors: tuple[ConnectorState, ...] = ()
    last_boot_at: int | None = None
