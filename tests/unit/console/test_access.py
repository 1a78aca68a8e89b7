"""Keys on pages: nobody sees those of other organisations."""

from types import SimpleNamespace
from typing import cast

from libs.access.principal import Grant, Principal
from libs.access.roles import Role
from libs.events.access import AccessGrant, KeyDefined
from libs.runtime.clock import moment_of
from services.console.pages.access import key_in_reach
from services.console.web.visit import Visit

KEYS = {
    name: KeyDefined(
        event_id=name,
        occurred_at=1,
        recorded_at=1,
        cause_id=name,
        key_id=name,
        digest="",
        name=name,
        grants=(AccessGrant(role=Role.VIEWER.value, organisation_id=name),),
        created_at=1,
    )
    for name in ("ours", "theirs")
}


def test_only_keys_of_one_s_own_organisation_are_shown() -> None:
    who = Principal("anna", (Grant(Role.TENANT_ADMIN, "ours"),))
    api = SimpleNamespace(access=SimpleNamespace(access_keys=KEYS))
    visit = cast(Visit, SimpleNamespace(api=api, principal=who, now=moment_of(1)))
    found = key_in_reach(visit, "ours")
    assert found is not None
    assert found.name == "ours"
    assert key_in_reach(visit, "theirs") is None
    assert key_in_reach(visit, "unknown") is None
