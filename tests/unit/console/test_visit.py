"""What who asks may do on a page, by the organisation of what the page is about."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import Request

from libs.access.principal import Grant, Principal
from libs.access.roles import Permission, Role
from services.api.domain.errors import Forbidden
from services.api.http.problems import Unavailable
from services.console.editing import Form, Sent, Trouble, shown_again, tried
from services.console.pages.entries import kind_of, must_have
from services.console.pages.then import show_then
from services.console.web.visit import Visit

ENGINEER_OF_A = Principal("anna", (Grant(Role.ENGINEER, "a"), Grant(Role.OPERATOR, "b")), 1)


class Places:
    """Where each station, site, tariff and token belongs is the beginning of its id."""

    def of_station(self, key: str) -> str:
        return key[0]

    of_site = of_tariff = of_token = of_station


def visit_of(
    kind: str, key: str, who: Principal = ENGINEER_OF_A, query: Mapping[str, str] = MappingProxyType({})
) -> Visit:
    hub = SimpleNamespace(position="")
    settings = SimpleNamespace(fresh_s=900)
    context = SimpleNamespace(hub=hub, settings=settings, registry=Places())
    context.of = lambda _: context
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": f"/edit/{kind}/{key}",
        "headers": [],
        "query_string": urlencode(query).encode(),
        "path_params": {"kind": kind, "key": key},
        "state": {"principal": who},
        "app": SimpleNamespace(state=SimpleNamespace(context=context)),
    }
    return Visit(Request(scope))


def test_an_entry_is_changed_only_where_it_belongs() -> None:
    needed = Permission.COMMAND_SECURITY
    here, elsewhere = visit_of("station", "A-1"), visit_of("station", "b-1")
    for visit, key in ((here, "A-1"), (elsewhere, "b-1")):
        kind_of(visit, "station", key)
    assert here.may(needed)
    assert not elsewhere.may(needed)
    assert not elsewhere.is_stale(needed)
    with pytest.raises(Forbidden):
        elsewhere.must(needed)
    with pytest.raises(Forbidden):
        must_have(elsewhere, needed)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("station", "station_id"), ("site", "site_id"), ("tariff", "tariff_id"), ("token", "id_token")],
)
def test_a_request_about_an_entry_names_it_as_the_api_does(kind: str, name: str) -> None:
    visit = visit_of(kind, "a-1", Principal("olga", (Grant(Role.PLATFORM_ADMIN, "*"),), 1))
    kind_of(visit, kind, "a-1")
    assert visit.request.path_params == {name: "a-1"}
    kind_of(visit, kind)
    assert visit.request.path_params == {}


async def test_what_cannot_be_done_now_keeps_what_was_typed() -> None:
    async def busy() -> None:
        raise Unavailable("too many passwords are being checked: try again later")

    given = Sent({"name": "typed"}, ours=True)
    outcome = await tried(visit_of("station", "a-1"), given, Permission.READ, busy)
    assert isinstance(outcome, Trouble)
    assert outcome.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert shown_again(Form(()), given, outcome).entered == {"name": "typed"}


@pytest.mark.parametrize("at", ["2026-05-01T08:00:00", f"2026-05-01T08:00:00.{'0' * 300}x"])
async def test_a_moment_without_an_offset_is_sent_on_however_long_it_is(at: str) -> None:
    visit = visit_of("station", "a-1", query={"at": at})
    answer = await show_then(visit, "a-1")
    assert answer.headers["location"] == "/stations/a-1?at=2026-05-01T08%3A00%3A00%2B00%3A00"
