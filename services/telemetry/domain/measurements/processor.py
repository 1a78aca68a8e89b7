"""Every meter value of every OCPP version as canonical samples."""

from __future__ import annotations

from typing import Final

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events import telemetry
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.topics import OCPP_TRANSACTIONS, REGISTRY_STATIONS, TELEMETRY_MEASUREMENTS
from libs.ocpp.semantics.model import MeasurementsReported
from libs.ocpp.semantics.numbers import evse_number
from libs.ocpp.semantics.received_calls import read_exchange, zone_of

_ACTIONS: Final = frozenset({"MeterValues", "TransactionEvent", "StopTransaction"})
_NOTHING: Final[Step[None]] = Step(None)


class MeasurementsProcessor(Processor[None]):
    """Stateless: one MeasurementsTaken for each exchange that holds a readable meter value.

    Samples keep the charger's order. Those that cannot be read are left out; the raw log has them.
    """

    name = "telemetry-measurements"
    inputs = (OCPP_TRANSACTIONS,)
    outputs = (TELEMETRY_MEASUREMENTS,)
    tables = (REGISTRY_STATIONS,)
    linger_s = 0.5

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """The exchanges that may hold meter values."""
        return kind == OcppCallReceived.__name__ and subject in _ACTIONS

    def key(self, message: Message) -> str | None:
        """The station, for the exchanges that may hold meter values."""
        record = message.record
        if isinstance(record, OcppCallReceived) and record.action in _ACTIONS:
            return record.station_id
        return None

    def step(self, state: None, event: Message | Tick, tables: Tables) -> Step[None]:
        """The measurements in one exchange."""
        assert isinstance(event, Message)
        record = event.record
        assert isinstance(record, OcppCallReceived)
        zone = zone_of(tables[REGISTRY_STATIONS].get(record.station_id))
        for fact in read_exchange(record, zone):
            if isinstance(fact, MeasurementsReported) and fact.samples:
                return Step(None, (Emit(TELEMETRY_MEASUREMENTS, record.station_id, _taken(record, fact)),))
        return _NOTHING


def _taken(record: OcppCallReceived, fact: MeasurementsReported) -> telemetry.MeasurementsTaken:
    return telemetry.MeasurementsTaken(
        event_id=derive_id(record.event_id, "measurements"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=record.station_id,
        # A number that no station has says nothing of where it was measured.
        evse_id=evse_number(fact.evse_id) or 0,
        connector_id=evse_number(fact.connector_id),
        transaction_id=fact.transaction_id or None,
        samples=tuple(
            [
                telemetry.Sample(
                    sampled_at=sample.at,
                    measurand=sample.measurand,
                    phase=sample.phase,
                    location=sample.location,
                    context=sample.context,
                    value_milli=sample.value_milli,
                    unit=sample.unit,
                    quirks=sample.quirks,
                )
                for sample in fact.samples
            ]
        ),
    )
