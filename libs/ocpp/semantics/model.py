"""What charger messages mean, whatever their OCPP version. Frozen facts; the processors know nothing else.

Here is what sessions and telemetry live on; `libs.ocpp.semantics.reports` has the rest.

Times are microseconds since the Unix epoch (UTC), energy is int Wh, values are int milli-units of the
canonical unit. Ids of transactions are text. ``evse_id`` 0 is the station itself; in OCPP 1.6, which has no
EVSEs, ``evse_id`` and ``connector_id`` are both the connector id. ``quirks`` are the names of
``libs.ocpp.quirks`` that reading took, beyond those of the schema check.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from libs.ocpp.semantics.reports import Report

StepKind = Literal["started", "updated", "ended"]

LOCATIONS: Final = ("Outlet", "Cable", "EV", "Body", "Inlet", "Upstream")
"""Where a quantity is measured, the nearest to the outlet first; what is before it may be shared with other EVSEs."""


def place_of(location: str | None) -> int:
    """The number in `LOCATIONS`: the outlet without a location (1.6 §7.33), behind all if OCPP lists no such place."""
    if location is None:
        return 0
    return LOCATIONS.index(location) if location in LOCATIONS else len(LOCATIONS)


class ConnectorStatusReported(msgspec.Struct, frozen=True, tag=True):
    """A connector's state, in the words of the version (1.6 has nine, 2.x five of them or ``Occupied``).

    ``error_code`` is ``None`` when there is no error; 2.x reports errors elsewhere.
    """

    evse_id: int
    connector_id: int
    status: str
    error_code: str | None
    at: int
    quirks: tuple[str, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """The register of imported active energy at one moment; ``context`` as the charger gave it."""

    at: int
    wh: int
    context: str | None = None


class TransactionStep(msgspec.Struct, frozen=True, tag=True):
    """One step of a transaction.

    ``transaction_id`` is empty if a 1.6 StopTransaction has none. ``meter_wh`` is the register that belongs to
    this step (the first at the start, else the last); ``readings`` are all registers in the message, in its
    order. ``token_status`` is what our answer said about the token. ``offline``: the charger says that it
    happened while it had no connection. ``trigger`` and ``charging_state`` exist in 2.x only. ``exported`` are the
    registers of energy that the vehicle gave back. ``signed``: the message carries signed meter values. ``place``:
    where the registers of ``readings`` were read, 0 for the outlet; the higher, the further from it.
    """

    kind: StepKind
    transaction_id: str
    at: int
    evse_id: int | None = None
    connector_id: int | None = None
    id_token: str | None = None
    token_status: str | None = None
    seq_no: int | None = None
    trigger: str | None = None
    reason: str | None = None
    meter_wh: int | None = None
    readings: tuple[Reading, ...] = ()
    charging_state: str | None = None
    offline: bool = False
    reservation_id: int | None = None
    remote_start_id: int | None = None
    quirks: tuple[str, ...] = ()
    exported: tuple[Reading, ...] = ()
    signed: bool = False
    place: int = 0


class MeterSample(msgspec.Struct, frozen=True):
    """One measured value in thousandths of its canonical unit.

    Canonical units: Wh, varh, VAh, W, var, VA, A, V, Hz, Celsius, Percent, RPM, ratio (power factor); the unit
    as sent for measurands that OCPP does not list.
    """

    at: int
    measurand: str
    value_milli: int
    unit: str
    phase: str | None = None
    location: str | None = None
    context: str | None = None
    quirks: tuple[str, ...] = ()


class MeasurementsReported(msgspec.Struct, frozen=True, tag=True):
    """Meter samples, of an EVSE or of a transaction; samples that cannot be read are left out, with a quirk."""

    evse_id: int | None
    connector_id: int | None
    transaction_id: str | None
    samples: tuple[MeterSample, ...]
    quirks: tuple[str, ...] = ()


class FirmwareStatusReported(msgspec.Struct, frozen=True, tag=True):
    """Progress of a firmware update; 1.6 without its security extension gives no ``request_id``."""

    status: str
    request_id: int | None
    at: int


class Booted(msgspec.Struct, frozen=True, tag=True):
    """The station started; ``reason`` exists in 2.x only. ``boot_status`` is what our answer said, None if none."""

    vendor: str
    model: str
    serial: str | None
    firmware_version: str | None
    reason: str | None
    at: int
    boot_status: str | None = None


class TokenPresented(msgspec.Struct, frozen=True, tag=True):
    """Somebody presented a token; ``token_status`` is what our answer said about it."""

    id_token: str
    token_status: str | None
    at: int


SemanticEvent = (
    Report
    | ConnectorStatusReported
    | TransactionStep
    | MeasurementsReported
    | FirmwareStatusReported
    | Booted
    | TokenPresented
)
