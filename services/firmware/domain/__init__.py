"""Firmware's two folds: campaigns, and each station's updates."""

from services.firmware.domain.campaign import Campaign, CampaignProcessor
from services.firmware.domain.station import StationFirmware, StationFirmwareProcessor

__all__ = ["Campaign", "CampaignProcessor", "StationFirmware", "StationFirmwareProcessor"]
