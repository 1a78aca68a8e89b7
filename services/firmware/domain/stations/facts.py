"""What stations say of their firmware, and the fates of the update commands, as facts of one kind."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from libs.bus.message import Message
from libs.events.commands import CommandConcluded, Fate
from libs.events.ocpp_log import OcppCallReceived
from libs.ocpp.semantics.model import Booted, FirmwareStatusReported
from libs.ocpp.semantics.received_calls import read_exchange

ACTIONS = frozenset({"BootNotification", "FirmwareStatusNotification", "SignedFirmwareStatusNotification"})
"""Of everything that chargers report, what matters here."""

REQUESTED_BY = "firmware"
LONGEST_TEXT: Final = 500
"""What is kept of a fact's words."""


class FactKind(StrEnum):
    """BOOTED: `text` is the version. STATUS: the OCPP firmware status. FATE: a command's fate and its reason."""

    BOOTED = "BOOTED"
    STATUS = "STATUS"
    FATE = "FATE"


class Fact(msgspec.Struct, frozen=True):
    """Something that happened at the station. `command_id`, `fate`: only of a FATE; `request_id`: of a STATUS."""

    kind: FactKind
    event_id: str
    at: int
    text: str
    command_id: str = ""
    fate: Fate | None = None
    request_id: int | None = None


def concerns_firmware(message: Message) -> bool:
    """Whether a record can matter here."""
    match message.record:
        case OcppCallReceived(action=action):
            return action in ACTIONS
        case CommandConcluded(requested_by=requested_by):
            return requested_by == REQUESTED_BY
        case _:
            return False


def fact_of(record: OcppCallReceived | CommandConcluded) -> Fact | None:
    """The fact in a record that `concerns_firmware`; None if it holds none that can be read."""
    if isinstance(record, CommandConcluded):
        return Fact(
            FactKind.FATE,
            record.event_id,
            record.recorded_at,
            record.reason[:LONGEST_TEXT],
            command_id=record.command_id,
            fate=record.fate,
        )
    try:
        events = read_exchange(record)
    except ValueError:  # bent by the edge, by a rule that there is no more
        return None
    for event in events:
        match event:
            case Booted(firmware_version=str() as firmware):
                return Fact(FactKind.BOOTED, record.event_id, record.recorded_at, firmware[:LONGEST_TEXT])
            case FirmwareStatusReported(status=status, request_id=request_id):
                return Fact(
                    FactKind.STATUS,
                    record.event_id,
                    record.recorded_at,
                    status[:LONGEST_TEXT],
                    request_id=request_id,
                )
            case _:
                pass
    return None
