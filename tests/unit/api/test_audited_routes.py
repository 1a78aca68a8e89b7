"""Every route that changes something, or shows messages of chargers or personal data, is in the audit trail."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from libs.access.principal import principal
from libs.access.roles import Permission, Role
from libs.bus.producer import Producer
from libs.events.audit import AuditOutcome, AuditPrincipalKind, AuditRecorded
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
from services.api.domain.errors import Conflict
from services.api.http.audit_entry import SHOWS_PERSONAL, before_write, note
from services.api.http.audit_requests import AuditedRequests
from services.api.http.audit_trail import AuditTrail
from services.api.http.permissions import Permitted, needs
from services.api.http.problems import Unavailable, add_handlers, unaudited
from services.api.writer import Writer
from services.console.application import create_application as create_console
from services.console.settings import ConsoleSettings
from services.console.web.visitors import form_token
from tests.unit.api import test_access as access
from tests.unit.api.kept_trail import KeptTrail
from tests.unit.api.test_permissions import (
    APP,
    DESCRIBED,
    KEY,
    PASSED,
    ROUTES,
    SETTINGS,
    TRAIL,
    key_of,
    permission_at,
)

PERSONAL = re.compile(r"id_token|^payload$|^document$")
CHANGES_NOTHING = {"/language"}
"""Of the console: a cookie of the visitor."""


def _fields(schema: Any, seen: set[str]) -> set[str]:
    """Names of all fields of a schema of the OpenAPI document, those inside it too."""
    found: set[str] = set()
    if isinstance(schema, list):
        return found.union(*(_fields(each, seen) for each in schema))
    if not isinstance(schema, dict):
        return found
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        found |= _fields(APP.openapi()["components"]["schemas"][name], seen)
    found |= set(schema.get("properties", {}))
    return found.union(*(_fields(each, seen) for each in schema.values()))


def shows_personal(method: str, path: str) -> bool:
    answers = DESCRIBED[path][method]["responses"]
    good = [answer.get("content", {}) for status, answer in answers.items() if status.startswith("2")]
    by_permission = permission_at(method, path) in SHOWS_PERSONAL
    # What the stream sends is in no schema.
    return by_permission or path.endswith("/stream") or any(map(PERSONAL.search, _fields(good, set())))


async def asked(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://here", verify=False) as http:
        return await http.request(method.upper(), re.sub(r"\{\w+\}", "x", path), **options)


async def test_every_route_of_the_api_writes_one_event_where_it_has_to() -> None:
    seen = {"changing": 0, "personal": 0, "neither": 0}
    for method, path in ROUTES:
        TRAIL.events.clear()
        answer = await asked(APP, method, path, headers={"Authorization": f"Bearer {KEY}"})
        kind = "changing" if method != "get" else "personal" if shows_personal(method, path) else "neither"
        seen[kind] += 1
        if kind == "neither":
            assert not TRAIL.events, (method, path)
            continue
        (event,) = TRAIL.outcomes
        assert event.action == f"{method.upper()} {path.removeprefix('/api/v1')}"
        assert event.permission == permission_at(method, path).value, path
        assert (event.principal, event.principal_kind) == ("api", AuditPrincipalKind.BOOTSTRAP)
        assert event.request_id == answer.headers["Request-Id"]
        assert event.status in (PASSED, 422)
    assert min(seen.values()) > 10, seen


async def test_whoever_lacks_a_permission_is_recorded_wherever_he_asks() -> None:
    for method, path in ROUTES:
        if permission_at(method, path) is Permission.READ:
            continue
        TRAIL.events.clear()
        await asked(APP, method, path, headers={"Authorization": f"Bearer {key_of(Role.VIEWER)}"})
        (event,) = TRAIL.events
        assert (event.outcome, event.status) == (AuditOutcome.REFUSED, 403), path
        assert (event.principal, event.permission) == ("viewer", permission_at(method, path).value)


async def test_wrong_keys_are_recorded() -> None:
    TRAIL.events.clear()
    await asked(APP, "get", "/api/v1/stations", headers={"Authorization": "Bearer wrong"})
    (event,) = TRAIL.events
    assert (event.outcome, event.status, event.action) == (AuditOutcome.REFUSED, 401, "")
    assert event.principal_kind is AuditPrincipalKind.NOBODY
    assert "wrong" not in repr(event)


class Anna:
    """Anna, who may do everything, is signed in, whatever the browser has."""

    def principal_of_sign_in(self, token: str) -> Any:
        return principal("anna", [Role.PLATFORM_ADMIN], authenticated_at=1)


class ConsoleParts:
    """No other part of the console: whoever reaches for one has passed."""

    settings = ConsoleSettings.model_validate({})
    access = Anna()

    def __init__(self, trail: KeptTrail) -> None:
        self.trail = trail

    def __getattr__(self, name: str) -> None:
        raise HTTPException(PASSED)


def console_routes(app: FastAPI) -> list[tuple[str, str, APIRoute]]:
    return [
        (method, route.path, route)
        for route in _routes(app.router.routes)
        for method in sorted(route.methods or ())
        if method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ]


def _routes(found: Any) -> list[APIRoute]:
    return [
        each
        for route in found
        for each in (
            [route]
            if isinstance(route, APIRoute)
            else _routes(getattr(getattr(route, "original_router", route), "routes", ()))
        )
    ]


def console(trail: KeptTrail) -> FastAPI:
    return create_console(cast(Context, ConsoleParts(trail)), Health())


async def test_every_route_of_the_console_writes_one_event_where_it_has_to() -> None:
    trail = KeptTrail()
    app = console(trail)
    routes = console_routes(app)
    assert len(routes) > 20
    changing = personal = 0
    for method, path, route in routes:
        trail.events.clear()
        cookies = {"Cookie": "__Host-voltbus=x", "Sec-Fetch-Site": "same-origin"}
        # Whatever it fails by, it is not to be written out.
        with capture_logs():
            await asked(app, method, path, headers=cookies)
        scopes = {scope for each in route.dependencies for scope in getattr(each, "scopes", ()) or ()}
        if method != "GET":
            assert len(trail.outcomes) == (path not in CHANGES_NOTHING), (method, path, trail.events)
            changing += path not in CHANGES_NOTHING
        elif scopes & {each.value for each in SHOWS_PERSONAL}:
            (event,) = trail.outcomes
            assert event.action == f"GET {path}"
            personal += 1
    assert changing >= 4
    assert personal >= 3


class Looked(ConsoleParts):
    """A console whose pages begin to be made: what they need of who asks is known."""

    hub = SimpleNamespace(position="")

    def of(self, _: Any) -> Looked:
        return self


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/stations/x/events/x", Permission.READ),
        ("GET", "/sessions/x/why", Permission.READ),
        ("GET", "/bulk", Permission.READ),
        ("GET", "/bulk/x", Permission.READ),
        ("GET", "/edit/token/x", Permission.EDIT_TOKENS),
        ("GET", "/remove/token/x", Permission.EDIT_TOKENS),
        ("POST", "/edit/token/x", Permission.READ_TOKENS),
        ("POST", "/stations/x/password", Permission.COMMAND_SECURITY),
    ],
)
async def test_what_a_page_of_the_console_needs_is_recorded(
    method: str, path: str, permission: Permission
) -> None:
    trail = KeptTrail()
    app = create_console(cast(Context, Looked(trail)), Health())
    headers = {"Cookie": "__Host-voltbus=x", "Sec-Fetch-Site": "same-origin"}
    with capture_logs():
        await asked(app, method, path, headers=headers, data={"_form": form_token("x")})
    (event,) = trail.outcomes
    assert event.permission == permission.value
    if path.startswith(("/edit/", "/remove/")):
        assert (event.subject_kind, event.subject_id) == ("token", "x")


# What a request writes, and in which order: a small application.

router = APIRouter()


@router.post("/things/{thing_id}", dependencies=needs(Permission.EDIT_STATIONS))
async def change(request: Request) -> PlainTextResponse:
    await before_write()
    request.app.state.done.append("written")
    await before_write()
    return PlainTextResponse("ok")


@router.post("/conflict", dependencies=needs(Permission.EDIT_STATIONS))
async def conflict() -> None:
    await before_write()
    raise Conflict("no")


@router.post("/broken", dependencies=needs(Permission.EDIT_STATIONS))
async def broken() -> None:
    await before_write()
    raise Unavailable("not now")


@router.get("/frames", dependencies=needs(Permission.READ_FRAMES))
async def frames() -> PlainTextResponse:
    return PlainTextResponse("secret frames")


@router.get("/sign-in")
async def sign_in() -> None:
    note(account="ben")
    raise Conflict("wrong")


class Rig:
    def __init__(self) -> None:
        self.trail = KeptTrail()
        self.known = True
        self.app = FastAPI()
        self.done: list[str] = []
        self.app.state.done = self.done
        self.app.state.context = SimpleNamespace(settings=SimpleNamespace(fresh_s=900))
        self.app.include_router(router)
        add_handlers(self.app)
        self.app.add_middleware(Who, rig=self)
        self.app.add_middleware(
            AuditedRequests,
            trail_of=lambda: self.trail,
            service="api",
            bootstrap="api",
            unavailable=unaudited,
        )

    async def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        return await asked(self.app, method, path, headers=headers)

    @property
    def told(self) -> list[tuple[AuditOutcome, int]]:
        return [(each.outcome, each.status) for each in self.trail.events]


class Who:
    """Everybody is anna, with a key, if anybody is known."""

    def __init__(self, app: Any, rig: Rig) -> None:
        self._app = app
        self._rig = rig

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self._rig.known:
            scope["state"]["principal"] = principal("anna", [Role.ENGINEER])
        await self._app(scope, receive, send)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_change_has_its_event_before_it_is_made_and_its_outcome_after(rig: Rig) -> None:
    answer = await rig.ask("post", "/things/t1", reason="%C3%BCber nacht\x1b[0m", traceparent="00-ab-cd-01")
    assert rig.told == [(AuditOutcome.STARTED, 0), (AuditOutcome.DONE, 200)]
    first, last = rig.trail.events
    assert first.request_id == last.request_id == answer.headers["request-id"]
    assert (first.subject_kind, first.subject_id) == ("thing", "t1")
    assert first.reason == last.reason == "\u00fcber nacht [0m"
    assert last.trace == "00-ab-cd-01"
    assert last.principal_kind is AuditPrincipalKind.KEY


async def test_what_cannot_be_recorded_is_not_done(rig: Rig) -> None:
    rig.trail.away = True
    answer = await rig.ask("post", "/things/t1")
    assert answer.status_code == 503
    assert not rig.done


async def test_what_cannot_be_recorded_is_not_shown(rig: Rig) -> None:
    rig.trail.away = True
    answer = await rig.ask("get", "/frames")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    rig.trail.away = False
    assert (await rig.ask("get", "/frames")).text == "secret frames"
    assert rig.told == [(AuditOutcome.DONE, 200)]


async def test_a_reading_that_could_not_be_recorded_is_recorded_the_next_time(rig: Rig) -> None:
    kept = KeptTrail()
    noted = AuditTrail(cast(Producer, None), "api", "a test", timeout_s=1)
    kept.repeats, kept.note_read = noted.repeats, noted.note_read  # type: ignore[method-assign]
    rig.trail = kept
    kept.away = True
    assert (await rig.ask("get", "/frames")).status_code == 503
    kept.away = False
    for _ in range(3):
        assert (await rig.ask("get", "/frames")).text == "secret frames"
    assert rig.told == [(AuditOutcome.DONE, 200)]


async def test_what_is_refused_or_fails_says_so(rig: Rig) -> None:
    await rig.ask("post", "/conflict")
    await rig.ask("post", "/broken")
    assert rig.told == [
        (AuditOutcome.STARTED, 0),
        (AuditOutcome.REFUSED, 409),
        (AuditOutcome.STARTED, 0),
        (AuditOutcome.FAILED, 503),
    ]


async def test_a_failed_sign_in_names_its_account(rig: Rig) -> None:
    rig.known = False
    await rig.ask("get", "/sign-in")
    (event,) = rig.trail.events
    assert (event.principal, event.principal_kind, event.outcome) == (
        "ben",
        AuditPrincipalKind.PERSON,
        AuditOutcome.REFUSED,
    )


class Recorded(access.Rig):
    async def write(self, topic: str, key: str, record: Any) -> None:
        await before_write()
        await super().write(topic, key, record)


async def test_whoever_signs_in_by_the_provider_or_out_is_named(rig: Rig) -> None:
    rig.known = False
    people = Recorded()
    await people.account("ben")

    @rig.app.post("/admit")
    async def admit() -> None:
        await people.sign_ins.admit("ben", "token", 0, "203.0.113.9", "")

    @rig.app.post("/sign-out")
    async def sign_out() -> None:
        await people.sign_ins.sign_out("token")

    for path in ("/admit", "/sign-out"):
        rig.trail.events.clear()
        await rig.ask("post", path)
        assert rig.told == [(AuditOutcome.STARTED, 0), (AuditOutcome.DONE, 200)]
        for event in rig.trail.events:
            assert (event.principal, event.principal_kind) == ("ben", AuditPrincipalKind.PERSON)
            assert (event.subject_kind, event.subject_id) == ("account", "ben")


async def test_who_is_not_known_writes_only_so_much_whatever_comes_of_it(rig: Rig) -> None:
    rig.known = False
    bounded: list[AuditOutcome] = []

    def refused(event: AuditRecorded) -> None:
        bounded.append(event.outcome)

    rig.trail.refused = refused  # type: ignore[method-assign]

    @rig.app.post("/open/{wanted}")
    async def open_to_all(wanted: str) -> None:
        if wanted == "fails":
            raise Unavailable("not now")

    for wanted in ("fails", "passes"):
        await rig.ask("post", f"/open/{wanted}")
    assert bounded == [AuditOutcome.FAILED, AuditOutcome.DONE]
    assert not rig.trail.events


async def test_only_the_key_of_a_sign_in_signs_out() -> None:
    people, trail = access.Rig(), KeptTrail()
    await people.account("ben")
    people.now += 1
    key, _ = await people.sign_ins.sign_in_for_key("ben", access.PASSWORD, "203.0.113.9", "")
    parts = SimpleNamespace(settings=SETTINGS, access=people.access, sign_ins=people.sign_ins, trail=trail)
    app = create_application(cast(Context, parts), Health())
    answers = []
    for sent in ("", KEY, "vbs_nobody", key, key):
        headers = {"Authorization": f"Bearer {sent}"} if sent else {}
        answers.append((await asked(app, "post", "/api/v1/sign-out", headers=headers)).status_code)
    assert answers == [401, 401, 401, 204, 401]
    assert [each.principal for each in trail.outcomes] == ["", "", "", "ben", ""]


async def test_texts_are_bounded(rig: Rig) -> None:
    await rig.ask("post", f"/things/{'t' * 5000}", reason="r" * 5000, traceparent="t" * 5000)
    assert len(repr(rig.trail.events[-1])) < 3000
    await rig.ask("get", f"/frames?q={'%F0%9F%98%80' * 900}")
    assert len(rig.trail.events[-1].query) == 500


class Failed:
    """A producer that must not be asked."""

    failed = False

    async def send_and_wait(self, *_: Any, **__: Any) -> None:
        raise AssertionError("written without its event")


async def test_the_writer_writes_nothing_before_the_event(rig: Rig) -> None:
    @rig.app.post("/write", dependencies=needs(Permission.EDIT_STATIONS))
    async def write(must: Permitted) -> None:
        await Writer(cast(Producer, Failed())).write("a.topic", "key", None)

    rig.trail.away = True
    assert (await rig.ask("post", "/write")).status_code == 503
