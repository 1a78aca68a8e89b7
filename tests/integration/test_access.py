"""Accounts, keys and sign-ins: what one process writes holds in every other, on open streams too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from libs.bus.sole_writer import SoleWriter
from libs.bus.tables import TableSet
from libs.runtime.clock import SECOND, iso, now_us
from services.api.access.sign_ins import SignIns
from services.api.access.table import CHANGED, TABLES, Access
from services.api.domain.errors import SignInRefused, TooMany
from services.api.parts import access_of
from services.api.registry.changes import Changes
from services.api.writer import Writer
from tests.integration.api_platform import Platform, another, api, ok, problem
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse battery"
ADMIN = [{"role": "platform-admin"}]
VIEWER = [{"role": "viewer"}]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def made_key(http: httpx.AsyncClient, **body: Any) -> Any:
    return await ok(await http.post("/keys", json={"name": "robot", "grants": VIEWER} | body), 201)


async def counts(http: httpx.AsyncClient, key: str) -> bool:
    return (await http.get("/me", headers=bearer(key))).status_code == 200


@asynccontextmanager
async def elsewhere(api: Platform) -> AsyncIterator[tuple[Access, SignIns]]:
    """What another process that signs people in has."""
    tables = TableSet(api.bus, "other-access", TABLES)
    writer = SoleWriter(api.bus, "api-access", "test", timeout_s=10)
    changes = Changes(tables, writer, timeout_s=10, read_back_s=2, topics=CHANGED, together=1)
    settings = api.settings.model_copy(update={"wrong_passwords": 3})
    access, _, sign_ins = access_of(settings, tables, changes, Writer(api.producer))
    async with tables:
        yield access, sign_ins


async def test_an_account_is_made_changed_and_removed(api: Platform) -> None:
    body = {"account_id": "Anna@Example.org", "password": PASSWORD, "grants": ADMIN}
    made = await api.http.post("/accounts", json=body)
    shown = await ok(made, 201)
    assert shown | {"updated_at": ""} == {
        "account_id": "anna@example.org",
        "display_name": "",
        "grants": [{"role": "platform-admin", "organisation_id": "*"}],
        "disabled": False,
        "has_password": True,
        "issuer": "",
        "subject": "",
        "sign_ins": 0,
        "updated_at": "",
        "changed_by": "api",
    }
    path = "/accounts/anna@example.org"
    assert made.headers["location"] == "/api/v1/accounts/anna%40example.org"
    problem(await api.http.post("/accounts", json=body), 409)
    problem(await api.http.delete(path), 409)
    problem(await api.http.patch(path, json={"grants": []}), 409)
    for wrong in ({"grants": [{"role": "viewer", "organisation_id": "org-1"}]}, {"password_hash": "x"}):
        problem(await api.http.patch(path, json=wrong), 422)
    problem(await api.http.post(f"{path}/password", json={"password": "short"}), 422)
    changed = await api.http.patch(
        path, json={"display_name": "Anna"}, headers={"If-Match": made.headers["etag"]}
    )
    assert (await ok(changed))["display_name"] == "Anna"
    stale = {"If-Match": made.headers["etag"]}
    problem(await api.http.put(path, json={}, headers=stale), 412)
    await ok(await api.http.put("/accounts/ben", json={"grants": ADMIN}), 201)
    listed = await ok(await api.http.get("/accounts"))
    assert [each["account_id"] for each in listed["items"]] == ["anna@example.org", "ben"]
    await ok(await api.http.delete(path), 204)
    problem(await api.http.get(path), 404)


async def test_of_two_admins_that_two_processes_remove_at_once_one_stays(api: Platform) -> None:
    async with another(api) as other:
        for name in ("ben", "tim"):
            # Another test may have made one of them.
            made = await api.http.put(f"/accounts/{name}", json={"grants": ADMIN})
            assert made.status_code in (200, 201), made.text
        for each in (await ok(await api.http.get("/accounts")))["items"]:
            if each["account_id"] not in ("ben", "tim"):
                await ok(await api.http.delete(f"/accounts/{each['account_id']}"), 204)

        async def both_known() -> bool:
            listed = (await ok(await other.get("/accounts")))["items"]
            return [each["account_id"] for each in listed] == ["ben", "tim"]

        await until(both_known)
        answers = await asyncio.gather(api.http.delete("/accounts/ben"), other.delete("/accounts/tim"))
        assert sorted(each.status_code for each in answers) == [204, 409]


async def test_a_key_does_what_its_role_may_until_it_is_revoked_in_every_process(api: Platform) -> None:
    async with another(api) as other:
        made = await made_key(api.http, note="export")
        key, headers = made["key"], bearer(made["key"])
        await until(lambda: counts(other, key))
        assert (await ok(await other.get("/me", headers=headers)))["name"] == "robot"
        refused = problem(await other.post("/sites", json={"site_id": "s"}, headers=headers), 403)
        assert refused["permission"] == "edit_stations"
        problem(await other.post("/keys", json={"name": "x", "grants": VIEWER}, headers=headers), 403)
        listed = await ok(await other.get("/keys", params={"q": "export", "counts": True}))
        assert [each["key_id"] for each in listed["items"]] == [made["key_id"]]
        assert "key" not in listed["items"][0]
        async with other.stream("GET", "/stream", headers=headers) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": connected"
            revoked = await ok(await api.http.delete(f"/keys/{made['key_id']}"))
            assert (revoked["revoked"], revoked["counts"], revoked["changed_by"]) == (True, False, "api")
            rest = [line async for line in lines]
            assert "event: revoked" in rest
        problem(await api.http.get("/me", headers=headers), 401)
        problem(await other.get("/me", headers=headers), 401)


async def test_a_stream_ends_with_its_key(api: Platform) -> None:
    # A slow machine may open the stream only after the key has ended: then with one that lasts longer.
    for lasting_s in (2, 10, 30):
        end = iso(now_us() + lasting_s * SECOND).replace("+00:00", "Z")
        made = await made_key(api.http, expires_at=end)
        async with api.http.stream("GET", "/stream", headers=bearer(made["key"])) as stream:
            lines = [line async for line in stream.aiter_lines()]
        if stream.status_code == 200:
            break
    assert "event: revoked" in lines
    problem(await api.http.get("/me", headers=bearer(made["key"])), 401)


async def test_a_sign_in_holds_until_it_is_ended_anywhere(api: Platform) -> None:
    body = {"account_id": "sue", "password": PASSWORD, "grants": VIEWER}
    async with elsewhere(api) as (access, sign_ins):

        async def known(token: str) -> bool:
            return access.principal_of_sign_in(token) is not None

        async def unknown(token: str) -> bool:
            return access.principal_of_sign_in(token) is None

        async def shown() -> Any:
            return (await ok(await api.http.get("/accounts/sue")))["sign_ins"] == 1

        await ok(await api.http.post("/accounts", json=body), 201)

        async def arrived() -> bool:
            return "sue" in access.accounts

        await until(arrived)
        for end in ("sign-out", "password", "disabled"):
            token = await sign_ins.sign_in("sue", PASSWORD, "203.0.113.7", "x" * 500)
            await until(lambda token=token: known(token))  # type: ignore[misc]
            await until(shown)
            if end == "sign-out":
                await ok(await api.http.post("/accounts/sue/sign-out"), 204)
            elif end == "password":
                await ok(await api.http.post("/accounts/sue/password", json={"password": PASSWORD}), 204)
            else:
                await ok(await api.http.patch("/accounts/sue", json={"disabled": True}))
            await until(lambda token=token: unknown(token))  # type: ignore[misc]


async def test_wrong_passwords_are_limited(api: Platform) -> None:
    body = {"account_id": "tom", "password": PASSWORD, "grants": VIEWER}
    await ok(await api.http.post("/accounts", json=body), 201)
    async with elsewhere(api) as (_, sign_ins):
        for _ in range(3):
            with pytest.raises(SignInRefused):
                await sign_ins.sign_in("tom", "wrong password", "203.0.113.7", "")
        with pytest.raises(TooMany):
            await sign_ins.sign_in("tom", PASSWORD, "203.0.113.7", "")
        await sign_ins.sign_in("tom", PASSWORD, "203.0.113.8", "")
