"""How sites share their limits now."""

from pydantic import Field

from libs.access.roles import Permission
from libs.events.load import LoadPlanMade
from services.api.context import Api
from services.api.domain.errors import NotFound
from services.api.http.fields import Output, Time
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.rows import record_of

router = routes("sites")


class Allocation(Output):
    """One EVSE's share; 0: it waits. `drawn_ma`: what it draws, or may draw, beyond its share; 0: it keeps to it."""

    station_id: str
    evse_id: int
    transaction_id: str
    current_ma: int
    drawn_ma: int = 0


class LoadPlan(Output):
    """How a site's limit is shared now."""

    site_id: str
    plan_no: int
    limit_ma: int | None
    allocations: list[Allocation]
    waiting: int
    made_at: Time = Field(validation_alias="recorded_at")


@router.get("/sites/{site_id}/load", dependencies=needs(Permission.READ))
async def get_load(api: Api, site_id: str) -> LoadPlan:
    """How the site's limit is shared now; 404 if no plan was made yet."""
    plan = api.live.plans.records.get(site_id)
    if plan is None:
        rows = await api.reader.rows(
            "SELECT * FROM load_plans WHERE site_id = %(id)s AND _type = 'LoadPlanMade'"
            " ORDER BY plan_no DESC LIMIT 1",
            {"id": site_id},
        )
        if not rows:
            raise NotFound(f"no load plan was made for a site {site_id!r}")
        plan = record_of(LoadPlanMade, rows[0])
    return LoadPlan.model_validate(plan)
