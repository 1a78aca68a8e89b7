"""What who asks may do on a page, by the organisation of what the page is about."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from libs.access.principal import Grant, Principal
from libs.access.roles import Permission, Role
from services.api.domain.errors import Forbidden
from services.console.pages.entries import _kind, _must_have
from services.console.web.visit import Visit

ENGINEER_OF_A = Principal("anna", (Grant(Role.ENGINEER, "a"), Grant(Role.OPERATOR, "b")), 1)


class Places:
    """Where each station, site, tariff and token belongs is the beginning of its id."""

    def of_station(self, key: str) -> str:
        return key[0]

    of_site = of_tariff = of_token = of_station


def visit_of(kind: str, key: str, who: Principal = ENGINEER_OF_A) -> Visit:
    hub = SimpleNamespace(position="")
    settings = SimpleNamespace(fresh_s=900)
    context = SimpleNamespace(hub=hub, settings=settings, registry=Places())
    context.of = lambda _: context
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": f"/edit/{kind}/{key}",
        "headers": [],
        "query_string": b"",
        "path_params": {"kind": kind, "key": key},
        "state": {"principal": who},
        "app": SimpleNamespace(state=SimpleNamespace(context=context)),
    }
    return Visit(Request(scope))


def test_an_entry_is_changed_only_where_it_belongs() -> None:
    needed = Permission.COMMAND_SECURITY
    here, elsewhere = visit_of("station", "A-1"), visit_of("station", "b-1")
    for visit, key in ((here, "A-1"), (elsewhere, "b-1")):
        _kind(visit, "station", key)
    assert here.may(needed)
    assert not elsewhere.may(needed)
    assert not elsewhere.is_stale(needed)
    with pytest.raises(Forbidden):
        elsewhere.must(needed)
    with pytest.raises(Forbidden):
        _must_have(elsewhere, needed)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("station", "station_id"), ("site", "site_id"), ("tariff", "tariff_id"), ("token", "id_token")],
)
def test_a_request_about_an_entry_names_it_as_the_api_does(kind: str, name: str) -> None:
    visit = visit_of(kind, "a-1", Principal("olga", (Grant(Role.PLATFORM_ADMIN, "*"),), 1))
    _kind(visit, kind, "a-1")
    assert visit.request.path_params == {name: "a-1"}
    _kind(visit, kind)
    assert visit.request.path_params == {}
