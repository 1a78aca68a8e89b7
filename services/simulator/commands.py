"""Commands that chargers of every version answer alike."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

from services.simulator.operations import Operated
from services.simulator.rpc import RpcMixin, handles

C = TypeVar("C", bound=Operated)


class CommonCommands(RpcMixin, Generic[C]):
    """What the versions' handlers of commands build on. `results`: the version's classes of answers."""

    results: ClassVar[ModuleType]

    def __init__(self, charger: C, connection: Any, response_timeout: float) -> None:
        super().__init__(charger.station.id, connection, response_timeout)
        self.charger = charger

    @handles("ClearCache")
    def _on_clear_cache(self, **_: Any) -> Any:
        self.charger.cache.clear()
        return self.results.ClearCache(status="Accepted")

    @handles("CancelReservation")
    def _on_cancel_reservation(self, reservation_id: int, **_: Any) -> Any:
        cancelled = self.charger.cancel_reservation(reservation_id)
        return self.results.CancelReservation(status="Accepted" if cancelled else "Rejected")

    @handles("DataTransfer")
    def _on_data_transfer(self, vendor_id: str, **_: Any) -> Any:
        known = vendor_id == self.charger.make.vendor
        return self.results.DataTransfer(status="UnknownMessageId" if known else "UnknownVendorId")
