"""What every handler shares."""

from typing import Annotated, Final, Self

import msgspec
from fastapi import Depends, Request

from libs.access.principal import Principal
from libs.events.contract import Contract
from libs.security.sealing import Sealer
from services.api.access.changes import AccessChanges
from services.api.access.sign_ins import SignIns
from services.api.access.table import Access
from services.api.access.views import SavedViews
from services.api.billing.history import History
from services.api.commands.bulk_history import BulkCommands
from services.api.commands.desk import CommandDesk
from services.api.domain.scope import Scope
from services.api.equipment.certificate_writer import Certificates
from services.api.equipment.password_changes import Passwords
from services.api.http.audit_trail import AuditTrail
from services.api.live.campaign_definitions import Campaigns
from services.api.live.hub import Hub
from services.api.live.latest import Live
from services.api.oidc.service import SignInsAtProvider
from services.api.registry.table import Registry
from services.api.scoped import Rows, ScopedLane, ScopedReader, Turns
from services.api.settings import OperatorSettings
from services.api.worklist.causes import Causes
from services.api.writer import Writer

NOBODY: Final = Principal("", ())


class Context(msgspec.Struct, frozen=True):
    """The parts of one API process. `sealer`: what seals passwords in commands; None if there is no key for that.
    `provider`: None if there is no OpenID provider.

    `principal`: who asks, of the request that is served; `requester`: its name, as in `requester_of`. Of the registry,
    live state and what ClickHouse keeps a request has only what its principal reaches: see `scope` and `of`.
    """

    settings: OperatorSettings
    contract: Contract
    registry: Registry
    access: Access
    access_changes: AccessChanges
    sign_ins: SignIns
    views: SavedViews
    writer: Writer
    reader: Rows
    reports: Turns
    history: History
    live: Live
    causes: Causes
    hub: Hub
    desk: CommandDesk
    bulk: BulkCommands
    sealer: Sealer | None
    campaigns: Campaigns
    certificates: Certificates
    passwords: Passwords
    provider: SignInsAtProvider | None
    trail: AuditTrail
    requester: str = ""
    principal: Principal = NOBODY
    parts: "Context | None" = None

    @property
    def whole(self) -> "Context":
        """The parts as the process has them, of all organisations: for what chargers are told, not for answers."""
        return self if self.parts is None else self.parts

    @property
    def scope(self) -> Scope:
        """What who asks reaches."""
        return Scope(self.principal, self.registry.whole)

    def of(self, principal: Principal) -> Self:
        """The context of a request of `principal`: with what that reaches, and no more."""
        asked = msgspec.structs.replace(self, requester=principal.name, principal=principal, parts=self.whole)
        scope = asked.scope
        if scope.everywhere and scope.all_tokens:
            return asked
        registry = self.registry.whole.within(scope)
        if scope.everywhere:
            return msgspec.structs.replace(asked, registry=registry)
        reader = ScopedReader(self.reader, scope)
        return msgspec.structs.replace(
            asked,
            registry=registry,
            live=self.live.within(scope),
            reader=reader,
            reports=ScopedLane(self.reports, scope),
            history=History(reader),
        )


async def context_of(request: Request) -> Context:
    """The context of the application that serves the request; a coroutine, so that no thread is asked."""
    context: Context = request.app.state.context
    return context.of(request.state.principal)


async def requester_of(request: Request) -> str:
    """Whose key the request has: the operator's name, or PLATFORM."""
    name: str = request.state.requester
    return name


Api = Annotated[Context, Depends(context_of)]
Requester = Annotated[str, Depends(requester_of)]
