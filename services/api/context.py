"""What every handler shares."""

from typing import Annotated, Final

import msgspec
from fastapi import Depends, Request

from libs.access.principal import Principal
from libs.clickhouse.reader import Reader
from libs.events.contract import Contract
from libs.security.sealing import Sealer
from services.api.access.changes import AccessChanges
from services.api.access.sign_ins import SignIns
from services.api.access.table import Access
from services.api.billing.history import History
from services.api.commands.desk import CommandDesk
from services.api.equipment.certificate_writer import Certificates
from services.api.equipment.password_changes import Passwords
from services.api.http.lane import Lane
from services.api.live.campaign_definitions import Campaigns
from services.api.live.hub import Hub
from services.api.live.latest import Live
from services.api.registry.table import Registry
from services.api.settings import OperatorSettings
from services.api.writer import Writer

NOBODY: Final = Principal("", ())


class Context(msgspec.Struct, frozen=True):
    """The parts of one API process. `sealer`: what seals passwords in commands; None if there is no key for that.

    `principal`: who asks, of the request that is served; `requester`: its name, as in `requester_of`."""

    settings: OperatorSettings
    contract: Contract
    registry: Registry
    access: Access
    access_changes: AccessChanges
    sign_ins: SignIns
    writer: Writer
    reader: Reader
    reports: Lane
    history: History
    live: Live
    hub: Hub
    desk: CommandDesk
    sealer: Sealer | None
    campaigns: Campaigns
    certificates: Certificates
    passwords: Passwords
    requester: str = ""
    principal: Principal = NOBODY


async def context_of(request: Request) -> Context:
    """The context of the application that serves the request; a coroutine, so that no thread is asked."""
    context: Context = request.app.state.context
    state = request.state
    return msgspec.structs.replace(context, requester=state.requester, principal=state.principal)


async def requester_of(request: Request) -> str:
    """Whose key the request has: the operator's name, or PLATFORM."""
    name: str = request.state.requester
    return name


Api = Annotated[Context, Depends(context_of)]
Requester = Annotated[str, Depends(requester_of)]
