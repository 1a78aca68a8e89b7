"""Who may register an id that a charger has had on the platform before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from libs.access.principal import Grant, Principal
from libs.access.roles import Role
from services.api.domain.errors import Forbidden
from services.api.registry.stations import Stations

LOCAL = Principal("lou", (Grant(Role.OPERATOR, "org-1"),))
EVERYWHERE = Principal("eve", (Grant(Role.OPERATOR),))


def api(who: Principal, **tables: dict[str, Any]) -> Any:
    none: dict[str, Any] = {"locations": {}, "capabilities": {}, "credentials": {}}
    # Of others nothing is in the tables of who asks.
    registry = SimpleNamespace(**none, whole=SimpleNamespace(**none | tables))
    return SimpleNamespace(principal=who, registry=registry)


@pytest.mark.parametrize("table", ["locations", "capabilities", "credentials"])
def test_an_id_that_was_seen_is_registered_by_who_edits_all_stations(table: str) -> None:
    seen = {table: {"cp-1": object()}}
    with pytest.raises(Forbidden, match="in all organisations") as refused:
        Stations().must_be_free(api(LOCAL, **seen), "cp-1")
    assert refused.value.permission == "edit_stations"
    Stations().must_be_free(api(LOCAL, **seen), "cp-2")
    Stations().must_be_free(api(EVERYWHERE, **seen), "cp-1")
