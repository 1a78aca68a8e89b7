"""Local lists of chargers."""

from pydantic import Field

from libs.access.roles import Permission
from services.api.commands.conversation import Conversation
from services.api.context import Api, Requester
from services.api.equipment.local_list_sync import LocalListSync, Outcome
from services.api.equipment.said import CommandSaid, Timeout, said_of
from services.api.http.fields import Flag, Folded, Input, Output
from services.api.http.permissions import needs
from services.api.http.routing import routes

router = routes("equipment")


class LocalListWish(Input):
    """How the list is to be brought in line."""

    full: Flag = Field(default=False, description="Replace the list, whatever the charger has.")
    timeout_s: Timeout = 60


class LocalListSynced(Output):
    """What was done to a charger's local list, and why.

    `version_before`: of the list that it had; `version`: of the one that it has now, null if that is not known.
    `sent`: entries; `left_out`: tokens that are too long for the charger's OCPP version.
    """

    station_id: str
    outcome: Outcome
    why: str
    version_before: int | None
    version: int | None
    sent: int
    left_out: int
    commands: list[CommandSaid]


@router.post("/stations/{station_id}/local-list/sync", dependencies=needs(Permission.EDIT_STATIONS))
async def sync_local_list(
    api: Api, requester: Requester, station_id: Folded, body: LocalListWish | None = None
) -> LocalListSynced:
    """Bring a charger's local list in line with the registered tokens, whichever organisation they belong to.

    A list that was sent from here before is updated by what changed; any other is replaced, and so is one whose
    update the charger refuses (VersionMismatch, Failed). What does not fit into one message goes as several.
    """
    wish = body or LocalListWish()
    talk = await Conversation.begin(api, station_id, requested_by=requester, timeout_s=wish.timeout_s)
    done = await LocalListSync(api.whole, talk).run(full=wish.full)
    return LocalListSynced(
        station_id=station_id,
        outcome=done.outcome,
        why=done.why,
        version_before=done.version_before,
        version=done.version,
        sent=done.sent,
        left_out=done.left_out,
        commands=[said_of(said) for said in talk.said],
    )
