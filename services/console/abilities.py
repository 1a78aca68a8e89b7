"""What a charger says that it lacks."""

from libs.ocpp.semantics.abilities import COMPONENTS_2
from libs.ocpp.versions import Version
from services.console.web.visit import Visit


def lacking(visit: Visit, station_id: str) -> frozenset[str]:
    """Actions and components that the charger says it does not have; none where it has not said."""
    known = visit.api.registry.capabilities.get(station_id)
    return frozenset() if known is None else frozenset(known.lacking)


def why_not(version: Version, action: str, missing: frozenset[str]) -> str:
    """What the charger would need for the action and says it does not have; "" if nothing."""
    if action in missing:
        return action
    component = COMPONENTS_2.get(action, "") if version.is_v2 else ""
    return component if component in missing else ""
