"""What the API says of a command: its fate, or that it has none yet."""

from typing import Final, Literal, cast

CommandStatus = Literal["PENDING", "ACCEPTED", "REJECTED", "FAILED", "EXPIRED", "UNKNOWN"]
"""`libs.events.commands.Fate` in words, and one more; a test compares them."""

PENDING: Final = "PENDING"


def status_of(fate: str | None) -> CommandStatus:
    """The status of a command with this `Fate`, None before it has one."""
    return PENDING if fate is None else cast("CommandStatus", str(fate))
