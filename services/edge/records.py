"""The records that an edge writes about one connection."""

from typing import Final

from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import (
    ConnectionClosed,
    ConnectionOpened,
    FrameRejected,
    OcppCallReceived,
    StationLocated,
)
from libs.ocpp.frames import CallReceived, SendReceived
from libs.ocpp.inbound import CheckedCall
from libs.ocpp.quirks.book import clock_rule
from libs.ocpp.secrets import kept_payload, shown_frame
from services.edge.domain.equipment import UNKNOWN_EQUIPMENT, Equipment
from services.edge.domain.location import Holding
from services.edge.domain.rules import Standing
from services.edge.domain.times import occurred_at

FRAME_KEPT: Final = 4096
"""Characters of an unusable frame that are recorded."""


class Scribe:
    """Writes a connection's records; `now` is always the edge's clock in microseconds.

    `equipment` is what the station is by its latest boot, and marks its calls.
    """

    def __init__(
        self, holding: Holding, slot: int, version: str, equipment: Equipment = UNKNOWN_EQUIPMENT
    ) -> None:
        self._holding = holding
        self._slot = slot
        self._version = version
        self.equipment = equipment

    @property
    def equipment(self) -> Equipment:
        """What the station is."""
        return self._equipment

    @equipment.setter
    def equipment(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._clock = clock_rule(self._version, equipment.vendor, equipment.model, equipment.firmware)

    @property
    def station_id(self) -> str:
        """The station that the records are about."""
        return self._holding.station_id

    def opened(self, peer: str, registered: bool, profile: int, now: int) -> ConnectionOpened:
        """The connection is there. `profile`: its OCPP security profile."""
        holding = self._holding
        return ConnectionOpened(
            event_id=holding.connection_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=holding.connection_id,
            station_id=holding.station_id,
            connection_epoch=holding.epoch,
            edge_id=holding.edge_id,
            slot=self._slot,
            version=self._version,
            remote_address=peer,
            registered=registered,
            security_profile=profile,
        )

    def closed(self, code: int, reason: str, opened_at: int, now: int) -> ConnectionClosed:
        """The connection is gone."""
        holding = self._holding
        return ConnectionClosed(
            event_id=derive_id(holding.connection_id, "closed"),
            occurred_at=now,
            recorded_at=now,
            cause_id=holding.connection_id,
            station_id=holding.station_id,
            connection_epoch=holding.epoch,
            edge_id=holding.edge_id,
            code=code,
            reason=reason,
            opened_at=opened_at,
        )

    def located(self, connected: bool, now: int, profile: int = 0, peer: str = "") -> StationLocated:
        """The station is here, or not any more. `profile`, `peer`: as in `opened`."""
        holding = self._holding
        return StationLocated(
            event_id=derive_id(holding.connection_id, "located" if connected else "left"),
            occurred_at=now,
            recorded_at=now,
            cause_id=holding.connection_id,
            station_id=holding.station_id,
            edge_id=holding.edge_id,
            slot=self._slot,
            connection_epoch=holding.epoch,
            version=self._version,
            connected=connected,
            security_profile=profile,
            remote_address=peer,
        )

    def call(
        self,
        call: CallReceived | SendReceived,
        checked: CheckedCall,
        standing: Standing,
        answer: str | None,
        now: int,
    ) -> OcppCallReceived:
        """A station's CALL with the answer that it is given; a SEND has none."""
        event_id = new_id()
        at, quirks = occurred_at(checked.payload, now, standing.zone, self._clock)
        holding, equipment = self._holding, self._equipment
        return OcppCallReceived(
            event_id=event_id,
            occurred_at=at,
            recorded_at=now,
            cause_id=event_id,
            station_id=holding.station_id,
            connection_epoch=holding.epoch,
            edge_id=holding.edge_id,
            version=self._version,
            message_id=call.message_id,
            action=call.action,
            payload=kept_payload(call.action, call.payload_json),
            answer=answer,
            quirks=checked.quirks + quirks if quirks else checked.quirks,
            vendor=equipment.vendor,
            model=equipment.model,
            firmware=equipment.firmware,
        )

    def rejected(
        self,
        frame: bytes,
        code: str,
        reason: str,
        now: int,
        *,
        message_id: str | None = None,
        action: str | None = None,
        answered: bool = False,
    ) -> FrameRejected:
        """A frame could not be taken as a valid message. Of it what `shown_frame` shows is kept."""
        event_id = new_id()
        holding = self._holding
        return FrameRejected(
            event_id=event_id,
            occurred_at=now,
            recorded_at=now,
            cause_id=event_id,
            station_id=holding.station_id,
            connection_epoch=holding.epoch,
            edge_id=holding.edge_id,
            version=self._version,
            message_id=message_id,
            action=action,
            code=code,
            reason=reason,
            frame=shown_frame(frame, FRAME_KEPT),
            frame_bytes=len(frame),
            answered=answered,
        )
