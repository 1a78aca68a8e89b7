"""Every route needs a permission, and who lacks it gets 403."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from libs.access.principal import Grant, Principal, principal
from libs.access.roles import FRESH, PERMISSIONS, Permission, Role
from libs.events.access import AccessGrant, AccountDefined
from libs.runtime.clock import SECOND
from libs.runtime.service import Health
from services.api.access.callers import Callers
from services.api.application import create_application
from services.api.context import Context, context_of
from services.api.domain.errors import Conflict, Forbidden
from services.api.domain.permitted import (
    granted,
    must_be_permitted,
    must_be_permitted_everywhere,
    must_have_in_hand,
    must_leave_an_admin,
    recorded,
)
from services.api.settings import ApiSettings
from tests.unit.api.kept_trail import KeptTrail

KEY = "a-key-for-these-tests"
SETTINGS = ApiSettings.model_validate({"api_key": KEY, "operator_keys": "anna=annas-own-key-0123"})
PASSED = 418
TRAIL = KeptTrail()


def key_of(role: Role) -> str:
    return f"vb_{role}_secret"


class Keys:
    """A key of each role."""

    def principal_of_key(self, key: str) -> Principal | None:
        for role in Role:
            if key == key_of(role):
                return principal(role.value, [role])
        return None


async def passed() -> None:
    raise HTTPException(PASSED)


class Parts:
    """No part of the API: whoever reaches for one has passed."""

    def __getattr__(self, name: str) -> None:
        raise HTTPException(PASSED)


def application(override: Callable[[], Any]) -> FastAPI:
    context = cast(Context, SimpleNamespace(settings=SETTINGS, access=Keys(), trail=TRAIL))
    app = create_application(context, Health())
    app.dependency_overrides[context_of] = override
    return app


async def parts() -> Parts:
    return Parts()


APP = application(passed)
CAREFUL = application(parts)
DESCRIBED: dict[str, dict[str, Any]] = APP.openapi()["paths"]
ROUTES = [
    (method, path)
    for path, methods in DESCRIBED.items()
    for method in methods
    if "security" in methods[method]
]
OPEN = {("get", "/api/v1/sign-in"), ("post", "/api/v1/sign-in"), ("post", "/api/v1/sign-out")}


def permission_at(method: str, path: str) -> Permission:
    ((_, scopes),) = DESCRIBED[path][method]["security"][0].items()
    (scope,) = scopes
    return Permission(scope)


async def ask(key: str, method: str, path: str, body: Any = None, app: FastAPI = APP) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers, verify=False
    ) as http:
        return await http.request(method.upper(), path, json=body)


def test_every_route_declares_one_permission_that_suits_what_it_does() -> None:
    assert len(ROUTES) > 60
    for method, path in ROUTES:
        permission = permission_at(method, path)
        if method != "get":
            assert not permission.startswith("read"), (method, path)
        elif not path.startswith(("/api/v1/accounts", "/api/v1/keys")):
            assert permission in (Permission.READ, Permission.READ_TOKENS), path


def test_only_who_signs_in_or_out_needs_no_key() -> None:
    named = {(method, path) for path, methods in DESCRIBED.items() for method in methods}
    assert named - set(ROUTES) == OPEN


async def test_no_other_path_answers_without_a_key() -> None:
    """What is not in the document is public by name, or asks for a key."""
    for path in (
        "/api/v1/nothing",
        "/metrics",
        "/",
        "/api/v1/openapi.json/",
        "/api/v1/sign-in/",
        "/api/v1/sign-ins",
    ):
        assert (await ask("wrong", "get", path)).status_code == 401, path


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_is_refused_just_where_it_lacks_the_routes_permission(role: Role) -> None:
    for method, path in ROUTES:
        permission = permission_at(method, path)
        body = None if method in ("get", "delete") else {"no": "such field"}
        answer = await ask(key_of(role), method, re.sub(r"\{\w+\}", "x", path), body)
        if permission in PERMISSIONS[role]:
            assert answer.status_code in (PASSED, 200), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path)
            problem = answer.json()
            assert problem["permission"] == permission
            assert permission in problem["detail"]
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("role", "body", "missing"),
    [
        (Role.SUPPORT, {"command": "RemoteStart", "payload": {}}, None),
        (Role.SUPPORT, {"action": "Reset", "payload": {"type": "Hard"}}, "command_disruptive"),
        (Role.OPERATOR, {"action": "Reset", "payload": {"type": "Hard"}}, None),
        (Role.OPERATOR, {"action": "UpdateFirmware"}, "command_security"),
        (
            Role.OPERATOR,
            {"action": "ChangeConfiguration", "payload": {"key": "AuthorizationKey"}},
            "command_security",
        ),
        (Role.ENGINEER, {"action": "ChangeConfiguration", "payload": {"key": "AuthorizationKey"}}, None),
        (Role.OPERATOR, {"action": "NoSuchAction"}, "command_security"),
    ],
)
async def test_a_command_needs_what_it_does(role: Role, body: dict[str, Any], missing: str | None) -> None:
    answer = await ask(key_of(role), "post", "/api/v1/stations/x/commands", body, CAREFUL)
    if missing is None:
        assert answer.status_code == PASSED
    else:
        assert (answer.status_code, answer.json()["permission"]) == (403, missing)


async def test_a_station_gets_a_weaker_profile_only_from_who_may_change_security() -> None:
    weaker = {"security_profile": 0, "allow_security_downgrade": True}
    for method, path, body in (
        ("post", "/api/v1/stations", {"station_id": "x"}),
        ("put", "/api/v1/stations/x", {}),
        ("patch", "/api/v1/stations/x", {}),
    ):
        for role, code in ((Role.OPERATOR, 403), (Role.ENGINEER, PASSED)):
            answer = await ask(key_of(role), method, path, body | weaker, CAREFUL)
            assert answer.status_code == code, (method, role)
        assert (await ask(key_of(Role.OPERATOR), method, path, body, CAREFUL)).status_code == PASSED


async def test_variables_of_credentials_need_more_than_others() -> None:
    path, key = "/api/v1/stations/x/variables/set", key_of(Role.OPERATOR)
    for name, code in (("HeartbeatInterval", PASSED), ("AuthorizationKey", 403)):
        body = {"variables": [{"name": name, "value": "1"}]}
        assert (await ask(key, "post", path, body, CAREFUL)).status_code == code


def test_the_platforms_key_may_do_all_and_operators_what_operators_and_engineers_may() -> None:
    callers = Callers(SETTINGS.keys, lambda _: None)
    platform, anna = callers.principal_of_key(KEY.encode()), callers.principal_of_key(b"annas-own-key-0123")
    assert platform is not None
    assert anna is not None
    assert (platform.name, platform.permissions) == ("api", frozenset(Permission))
    assert anna.name == "anna"
    assert anna.permissions == PERMISSIONS[Role.OPERATOR] | PERMISSIONS[Role.ENGINEER]
    assert callers.principal_of_key(b"vb_x_y") is None
    assert callers.principal_of_key(b"") is None


NOW = 10_000 * SECOND
FRESH_FOR = 900 * SECOND


@pytest.mark.parametrize("permission", list(Permission))
def test_only_a_person_needs_a_fresh_sign_in_and_only_to_change(permission: Permission) -> None:
    stale = NOW - FRESH_FOR - 1
    person = principal("anna", [Role.PLATFORM_ADMIN], authenticated_at=stale)
    must_be_permitted(principal("key", [Role.PLATFORM_ADMIN]), permission, NOW, FRESH_FOR)
    must_be_permitted(person, permission, NOW, None)
    must_be_permitted(person, permission, NOW - 1, FRESH_FOR)
    if permission in FRESH:
        with pytest.raises(Forbidden, match="fresh sign-in") as refused:
            must_be_permitted(person, permission, NOW, FRESH_FOR)
        assert refused.value.permission == permission
    else:
        must_be_permitted(person, permission, NOW, FRESH_FOR)


def test_a_role_in_one_organisation_counts_there_alone() -> None:
    admin = Principal("anna", (Grant(Role.PLATFORM_ADMIN, "org-1"),))
    must_be_permitted(admin, Permission.READ, NOW, FRESH_FOR)
    must_be_permitted(admin, Permission.READ, NOW, FRESH_FOR, at="org-1")
    for elsewhere in ("org-2", ""):
        with pytest.raises(Forbidden):
            must_be_permitted(admin, Permission.READ, NOW, FRESH_FOR, at=elsewhere)
    with pytest.raises(Forbidden):
        must_be_permitted_everywhere(admin, Permission.READ)


@pytest.mark.parametrize(
    ("by", "given", "may"),
    [
        (Grant(Role.PLATFORM_ADMIN), Grant(Role.PLATFORM_ADMIN), True),
        (Grant(Role.PLATFORM_ADMIN), Grant(Role.ENGINEER, "org-1"), True),
        # Beyond one organisation only those of the platform reach.
        (Grant(Role.TENANT_ADMIN), Grant(Role.VIEWER), False),
        (Grant(Role.TENANT_ADMIN, "org-1"), Grant(Role.VIEWER), False),
        (Grant(Role.TENANT_ADMIN, "org-1"), Grant(Role.ENGINEER, "org-1"), True),
        (Grant(Role.TENANT_ADMIN, "org-1"), Grant(Role.TENANT_ADMIN, "org-1"), True),
        (Grant(Role.TENANT_ADMIN, "org-1"), Grant(Role.PLATFORM_ADMIN, "org-1"), False),
        (Grant(Role.TENANT_ADMIN, "org-1"), Grant(Role.VIEWER, "org-2"), False),
        (Grant(Role.OPERATOR), Grant(Role.VIEWER), False),
    ],
)
def test_nobody_gives_what_he_may_not_do_himself(by: Grant, given: Grant, may: bool) -> None:
    who = Principal("anna", (by,))
    if may:
        must_have_in_hand(who, [given])
        return
    with pytest.raises(Forbidden) as refused:
        must_have_in_hand(
            who, [Grant(Role.VIEWER, "org-1"), given] if by.organisation_id == "org-1" else [given]
        )
    assert not who.may(Permission(refused.value.permission))


def account(name: str, *roles: Role, disabled: bool = False) -> AccountDefined:
    return AccountDefined(
        event_id="e",
        occurred_at=1,
        recorded_at=1,
        cause_id="e",
        account_id=name,
        grants=recorded(Grant(role) for role in roles),
        disabled=disabled,
    )


def test_the_last_enabled_platform_admin_stays() -> None:
    by = principal("api", [Role.PLATFORM_ADMIN])
    anna, ben = account("anna", Role.PLATFORM_ADMIN), account("ben", Role.PLATFORM_ADMIN)
    asleep = account("eve", Role.PLATFORM_ADMIN, disabled=True)
    for new in (None, account("anna", Role.OPERATOR), account("anna", Role.PLATFORM_ADMIN, disabled=True)):
        with pytest.raises(Conflict, match="last account"):
            must_leave_an_admin(by, anna, new, [anna, asleep, account("tim", Role.OPERATOR)])
        must_leave_an_admin(by, anna, new, [anna, ben])
    must_leave_an_admin(by, anna, account("anna", Role.PLATFORM_ADMIN, Role.VIEWER), [anna])
    must_leave_an_admin(by, asleep, None, [anna, asleep])
    must_leave_an_admin(by, account("tim", Role.OPERATOR), None, [])


def test_nobody_removes_himself_but_a_key_of_the_same_name_may() -> None:
    anna, ben = account("anna", Role.PLATFORM_ADMIN), account("ben", Role.PLATFORM_ADMIN)
    signed_in = principal("anna", [Role.PLATFORM_ADMIN], authenticated_at=1)
    for new in (None, account("anna", Role.PLATFORM_ADMIN, disabled=True)):
        with pytest.raises(Conflict, match="signed in with"):
            must_leave_an_admin(signed_in, anna, new, [anna, ben])
        must_leave_an_admin(principal("anna", [Role.PLATFORM_ADMIN]), anna, new, [anna, ben])


def test_a_role_of_a_newer_release_permits_nothing() -> None:
    newer = (AccessGrant(role="roaming-partner"), AccessGrant(role="viewer"))
    assert granted(newer) == (Grant(Role.VIEWER),)
    assert granted(recorded([Grant(Role.TENANT_ADMIN, "o"), Grant(Role.TENANT_ADMIN, "o")])) == (
        Grant(Role.TENANT_ADMIN, "o"),
    )
