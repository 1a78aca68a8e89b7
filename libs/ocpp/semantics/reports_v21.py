"""What only messages of OCPP 2.1 mean. Units as in `libs.ocpp.semantics.reports`."""

from __future__ import annotations

import msgspec


class CostReported(msgspec.Struct, frozen=True, tag=True):
    """What a transaction costs by the charger's own reckoning (2.1), with and without tax where it tells."""

    transaction_id: str
    currency: str
    with_tax_milli: int | None
    without_tax_milli: int | None
    charging_s: int
    idle_s: int
    failed: bool
    at: int


class SettlementReported(msgspec.Struct, frozen=True, tag=True):
    """An ad-hoc payment at the charger was settled, or was not (2.1)."""

    transaction_id: str | None
    reference: str
    status: str
    amount_milli: int
    settled_at: int
    receipt_id: str | None
    at: int


class PriorityChargingReported(msgspec.Struct, frozen=True, tag=True):
    """A driver asked for priority charging at the charger, or gave it up (2.1)."""

    transaction_id: str
    active: bool
    at: int


class ScheduleUpdateAsked(msgspec.Struct, frozen=True, tag=True):
    """The charger wants the present limits of a dynamic charging profile (2.1)."""

    profile_id: int
    at: int


class VatNumberAsked(msgspec.Struct, frozen=True, tag=True):
    """A driver entered a VAT number that is to be checked (2.1)."""

    vat_number: str
    evse_id: int
    at: int


class GridAlarmReported(msgspec.Struct, frozen=True, tag=True):
    """A grid event made a control of distributed energy resources act, or is over (2.1)."""

    control: str
    fault: str | None
    ended: bool
    info: str | None
    at: int
    quirks: tuple[str, ...] = ()


class GridControlChanged(msgspec.Struct, frozen=True, tag=True):
    """A control of distributed energy resources started or stopped to apply (2.1)."""

    control_id: str
    started: bool
    superseded: tuple[str, ...]
    at: int
    quirks: tuple[str, ...] = ()


class GridControl(msgspec.Struct, frozen=True):
    """A control that the charger holds; ``kind`` is a curve's type or the setting's name."""

    control_id: str
    kind: str
    is_default: bool
    is_superseded: bool


class GridControlsReported(msgspec.Struct, frozen=True, tag=True):
    """The controls that were asked for (2.1)."""

    controls: tuple[GridControl, ...]
    request_id: int
    last: bool
    at: int


class Battery(msgspec.Struct, frozen=True):
    """A battery in a slot of a swap station; charge and health in thousandths of a percent."""

    evse_id: int
    serial: str
    charge_milli: int
    health_milli: int


class BatterySwapReported(msgspec.Struct, frozen=True, tag=True):
    """Batteries were put in, taken out, or not taken in time: BatteryIn, BatteryOut, BatteryOutTimeout (2.1)."""

    step: str
    request_id: int
    id_token: str
    batteries: tuple[Battery, ...]
    at: int


class StreamOpened(msgspec.Struct, frozen=True, tag=True):
    """The charger wants to send a monitor's values in a stream (2.1)."""

    stream_id: int
    monitor_id: int
    interval_s: int | None
    values: int | None
    at: int


class StreamClosed(msgspec.Struct, frozen=True, tag=True):
    """A stream is over (2.1)."""

    stream_id: int
    at: int


class StreamValue(msgspec.Struct, frozen=True):
    """A value of a stream, as text."""

    at: int
    value: str


class StreamValuesReported(msgspec.Struct, frozen=True, tag=True):
    """Values of a stream; ``pending`` more wait in the charger (2.1)."""

    stream_id: int
    values: tuple[StreamValue, ...]
    pending: int
    at: int
    quirks: tuple[str, ...] = ()


Report21 = (
    CostReported
    | SettlementReported
    | PriorityChargingReported
    | ScheduleUpdateAsked
    | VatNumberAsked
    | GridAlarmReported
    | GridControlChanged
    | GridControlsReported
    | BatterySwapReported
    | StreamOpened
    | StreamClosed
    | StreamValuesReported
)
