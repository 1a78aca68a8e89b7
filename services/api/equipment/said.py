"""Commands of a conversation, as the API shows them."""

from typing import Annotated, Literal

from pydantic import Field

from services.api.commands.conversation import Said
from services.api.http.fields import Output

Timeout = Annotated[
    float, Field(ge=1, le=300, allow_inf_nan=False, description="How long all of it may take, in seconds.")
]


class CommandSaid(Output):
    """One of the commands that it took, and its fate."""

    command_id: str
    action: str
    status: Literal["PENDING", "ACCEPTED", "REJECTED", "FAILED", "EXPIRED", "UNKNOWN"]
    reason: str
    degraded: str | None = None


def said_of(said: Said) -> CommandSaid:
    """A command as the API shows it."""
    return CommandSaid(
        command_id=said.command_id,
        action=said.action,
        status="PENDING" if said.fate is None else said.fate.value,
        reason=said.reason,
        degraded=said.degraded,
    )
