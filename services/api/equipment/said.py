"""Commands of a conversation, as the API shows them."""

from typing import Annotated

from pydantic import Field

from services.api.commands.conversation import Said
from services.api.domain.command_status import CommandStatus, status_of
from services.api.http.fields import Output

Timeout = Annotated[
    float, Field(ge=1, le=300, allow_inf_nan=False, description="How long all of it may take, in seconds.")
]


class CommandSaid(Output):
    """One of the commands that it took, and its fate."""

    command_id: str
    action: str
    status: CommandStatus
    reason: str
    degraded: str | None = None


def said_of(said: Said) -> CommandSaid:
    """A command as the API shows it."""
    return CommandSaid(
        command_id=said.command_id,
        action=said.action,
        status=status_of(said.fate),
        reason=said.reason,
        degraded=said.degraded,
    )
