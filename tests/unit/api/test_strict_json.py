"""Bodies that are no JSON by the letter, at every route that takes one."""

from __future__ import annotations

import json
import re
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
from services.api.settings import ApiSettings
from tests.unit.api.kept_trail import KeptTrail

KEY = "a-key-for-these-tests"
SETTINGS = ApiSettings.model_validate({"api_key": KEY})
DEEP = 300


@cache
def application() -> FastAPI:
    # None of these bodies reaches a handler.
    return create_application(cast(Context, SimpleNamespace(settings=SETTINGS, trail=KeptTrail())), Health())


@cache
def bodies() -> list[tuple[str, str]]:
    """Method and path of every route that takes one."""
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "5f1c1bd6-6b9e-4d1f-9d2e-0b2c5a1e3f44", path))
        for path, methods in application().openapi()["paths"].items()
        for method, described in methods.items()
        if "requestBody" in described
    ]


def nested(depth: int) -> bytes:
    return b'{"payload":' + b'{"a":' * depth + b"1" + b"}" * (depth + 1)


NOT_JSON = {
    "UTF-16": json.dumps({"name": "x"}).encode("utf-16"),
    "UTF-16 without a mark": json.dumps({"name": "x"}).encode("utf-16-le"),
    "UTF-32": json.dumps({"name": "x"}).encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "Latin-1": '{"name": "ä"}'.encode("latin-1"),
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": [-Infinity]}',
    "a comma too many": b'{"name": 1,}',
    "a huge integer": b'{"payload": {"a": [1' + b"0" * 40 + b"]}}",
    "a huge negative integer": b'{"payload": -1' + b"0" * 40 + b"}",
    "more digits than Python reads": b'{"payload": ' + b"9" * 5000 + b"}",
    "a huge float": b'{"payload": 1e40}',
    "an infinite float": b'{"payload": 1e400}',
    "deep": nested(DEEP),
    "deeper than the reader goes": nested(5000),
    "deep lists": b'{"payload":' + b"[" * DEEP + b"]" * DEEP + b"}",
}


async def answer(method: str, path: str, content: bytes, kind: str = "application/json") -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": kind}
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers, verify=False
    ) as http:
        return await http.request(method, path, content=content)


def test_there_are_routes_with_bodies() -> None:
    assert len(bodies()) > 20


@pytest.mark.parametrize("kind", NOT_JSON)
async def test_what_is_not_json_by_the_letter_is_refused_at_every_route(kind: str) -> None:
    for method, path in bodies():
        given = await answer(method, path, NOT_JSON[kind])
        assert given.status_code == 422, (method, path, given.text)
        body: dict[str, Any] = given.json()
        assert given.headers["content-type"] == "application/problem+json"
        assert body["errors"][0]["detail"].startswith("the body is not JSON"), (method, path, body)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-16", "application/vnd.api+json"])
async def test_the_content_type_does_not_choose_another_reader(kind: str) -> None:
    for method, path in bodies():
        given = await answer(method, path, NOT_JSON["UTF-16"], kind)
        assert given.status_code == 422, (method, path)
        assert "not JSON" in given.json()["detail"], (method, path)
