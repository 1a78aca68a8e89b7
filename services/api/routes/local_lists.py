"""Local lists of chargers."""

from services.api.commands.conversation import Conversation
from services.api.context import Api, Requester
from services.api.equipment import LocalListSynced, LocalListWish
from services.api.http.fields import Folded
from services.api.http.routing import routes, said_of
from services.api.local_list import LocalListSync

router = routes("equipment")


@router.post("/stations/{station_id}/local-list/sync")
async def sync_local_list(
    api: Api, requester: Requester, station_id: Folded, body: LocalListWish | None = None
) -> LocalListSynced:
    """Bring a charger's local list in line with the registered tokens.

    A list that was sent from here before is updated by what changed; any other is replaced, and so is one whose
    update the charger refuses (VersionMismatch, Failed). What does not fit into one message goes as several.
    """
    wish = body or LocalListWish()
    talk = await Conversation.begin(api, station_id, requested_by=requester, timeout_s=wish.timeout_s)
    done = await LocalListSync(api, talk).run(full=wish.full)
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
