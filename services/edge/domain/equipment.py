"""What a station is, by its own words."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libs.events.stations import CapabilitiesLearned
from libs.ocpp.versions import Version


class Equipment(msgspec.Struct, frozen=True):
    """Vendor, model and firmware version as the station spells them; empty where it has not said."""

    vendor: str = ""
    model: str = ""
    firmware: str = ""


UNKNOWN_EQUIPMENT: Final = Equipment()


def booted(version: Version, payload: Mapping[str, Any]) -> Equipment:
    """The equipment that a checked BootNotification tells of."""
    if version is Version.V16:
        return Equipment(
            payload["chargePointVendor"], payload["chargePointModel"], payload.get("firmwareVersion", "")
        )
    station = payload["chargingStation"]
    return Equipment(station["vendorName"], station["model"], station.get("firmwareVersion", ""))


def another_serial(version: Version, payload: Mapping[str, Any], certificate_name: str | None) -> bool:
    """Whether a checked BootNotification names another serial number than the station's certificate (B01.FR.11).

    1.6 asks for nothing of the kind, and not every station names one.
    """
    if certificate_name is None or version is Version.V16:
        return False
    serial = payload["chargingStation"].get("serialNumber", "").strip()
    return bool(serial) and serial.casefold() != certificate_name.casefold()


def remembered(known: CapabilitiesLearned | None) -> Equipment:
    """The equipment by an earlier BootNotification."""
    return UNKNOWN_EQUIPMENT if known is None else Equipment(known.vendor, known.model, known.firmware)
