"""What a station is and can do, learned from what it says."""

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.stations import CapabilitiesLearned
from libs.ocpp.semantics.exchange import read_exchange
from libs.ocpp.semantics.model import Booted

CAPABILITIES: Final = "stations.capabilities"
_BOOT: Final = "BootNotification"


class Station(msgspec.Struct, frozen=True):
    """What is known of one station; fields as in `CapabilitiesLearned`."""

    version: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""


class CapabilitiesProcessor(Processor[Station]):
    """Boots to what is known of stations, keyed by station."""

    name = "capabilities"
    inputs = ("ocpp.lifecycle",)
    outputs = (CAPABILITIES,)
    state = Station
    linger_s = 0.25

    def wants(self, topic: str, kind: str, subject: str | None) -> bool:
        """Only boots."""
        return kind == OcppCallReceived.__name__ and subject == _BOOT

    def key(self, message: Message) -> str | None:
        """Only boots."""
        match message.record:
            case OcppCallReceived(action="BootNotification"):
                return message.key
            case _:
                return None

    def step(self, state: Station | None, event: Message | Tick, tables: Tables) -> Step[Station]:
        """Fold one boot."""
        if not isinstance(event, Message) or not isinstance(record := event.record, OcppCallReceived):
            return Step(state)
        before = state or Station()
        after = before
        for fact in read_exchange(record):
            if isinstance(fact, Booted):
                after = Station(
                    record.version, fact.vendor, fact.model, fact.firmware_version or "", fact.serial or ""
                )
        if after == before:
            return Step(state)
        return Step(after, (Emit(CAPABILITIES, event.key, _learned(event.key, record, after)),))


def _learned(station_id: str, cause: OcppCallReceived, known: Station) -> CapabilitiesLearned:
    return CapabilitiesLearned(
        event_id=derive_id(cause.event_id, "capabilities"),
        station_id=station_id,
        occurred_at=cause.recorded_at,
        recorded_at=cause.recorded_at,
        cause_id=cause.event_id,
        version=known.version,
        vendor=known.vendor,
        model=known.model,
        firmware=known.firmware,
        serial_number=known.serial_number,
    )
