"""Attacks on a charging network, each with what it comes to nothing by: what reaches the API."""

from __future__ import annotations

from base64 import b64encode
from contextlib import AsyncExitStack
from urllib.parse import quote

import httpx
import pytest

from libs.clickhouse.client import ClickHouseClient
from services.api.domain.cursors import LAST, cursor_of
from tests.integration.api_platform import ANNAS_KEY, Platform, api, located, ok, problem
from tests.integration.attack_rig import (
    FORGED,
    FORMULA,
    SCRIPT,
)

__all__ = ["api"]

over_http = pytest.mark.asyncio(loop_scope="module")


INSIDE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:8080/x",
    "http://localhost/x",
    "http://[::1]/x",
    "http://[::ffff:10.0.0.1]/x",
    "http://10.1.2.3/x",
    "http://192.168.0.1/x",
    "http://2130706433/x",
    "http://0x7f000001/x",
    "http://0/x",
    "file:///etc/passwd",
    "gopher://example.org/x",
    "javascript:alert(1)",
    "ftp://user:password@example.org/x",
    "http://example.org\\@10.0.0.1/x",
    "http://127.0.0.1.nip.io/x",
    "http://localhost.localdomain/x",
    "http://127.0.0.1%2e/x",
    "http://metadata.google.internal/x",
    "http://[v1.x]/x",
    "http://8.8.8.8%00.evil/x",
]


@over_http
async def test_profile_downgrade_through_the_api(api: Platform) -> None:
    await ok(await api.http.put("/stations/held-up", json={"security_profile": 3}), 201)
    for number in (0, 1, 2):
        problem(await api.http.patch("/stations/held-up", json={"security_profile": number}), 422)
    assert (await ok(await api.http.get("/stations/held-up")))["security_profile"] == 3


@over_http
async def test_script_injection_through_the_api(api: Platform) -> None:
    """The API speaks JSON, says so, and nobody is to guess otherwise."""
    name = f"{SCRIPT}{FORMULA}"
    shown = await ok(await api.http.put("/stations/scripted", json={"name": name}), 201)
    assert shown["name"] == name
    response = await api.http.get("/stations/scripted")
    assert response.headers["content-type"] == "application/json"
    problem(await api.http.put("/stations/scripted", json={"name": FORGED}), 422)
    missing = await api.http.get(f"/stations/{SCRIPT.replace('/', '%2F')}")
    assert missing.headers["content-type"].startswith("application/")


@over_http
async def test_sql_injection(api: Platform) -> None:
    """Filters and ids are values wherever they come from: what is found stays what is asked for."""
    evil = [
        "' OR 1=1 --",
        "x'; DROP TABLE stations; --",
        "\\'",
        "%' OR '1'='1",
        "a`b",
        "x\x00y",
        "${x}",
        "{x:String}",
    ]
    for text in evil:
        for path in ("/stations", "/tokens", "/sites", "/tariffs"):
            found = await api.http.get(path, params={"q": text})
            assert (await ok(found))["items"] == []
        for path, name in (
            ("/sessions", "station_id"),
            ("/sessions", "site_id"),
            ("/sessions", "id_token"),
            ("/cdrs", "session_id"),
            ("/cdrs", "tariff_id"),
        ):
            response = await api.http.get(path, params={name: text})
            assert (await ok(response))["items"] == []
        for path in ("/sessions/{}", "/stations/{}/state", "/stations/{}/device-model", "/cdrs/{}"):
            response = await api.http.get(path.format(quote(text, safe="")))
            assert response.status_code in (200, 404, 422), (path, response.text)
            assert "DB::Exception" not in response.text
        for cursor in (text, b64encode(text.encode()).decode()):
            assert (await api.http.get("/sessions", params={"cursor": cursor})).status_code in (200, 422)
    clickhouse = ClickHouseClient(api.settings)
    try:
        assert clickhouse.rows("EXISTS TABLE registry_stations") == [{"result": 1}]
    finally:
        clickhouse.close()


@over_http
async def test_guessing_the_apis_keys(api: Platform) -> None:
    """Slowed by address; whoever has the key goes on, from there too."""

    async def guess(most: int, **others: str) -> httpx.Response:
        """Guesses until it is slowed, so many times at most; each second one more is allowed."""
        for number in range(most):
            answer = await api.http.get("/me", headers={"Authorization": f"Bearer guess-{number}", **others})
            if answer.status_code == 429:
                return answer
            assert answer.status_code == 401
        raise AssertionError("never slowed")

    assert int((await guess(10 * api.settings.wrong_keys)).headers["retry-after"]) >= 1
    await ok(await api.http.get("/me"))
    # Nor does it help to come from somewhere else by one's own word.
    await guess(api.settings.wrong_keys // 2, **{"X-Forwarded-For": "192.0.2.1"})


@over_http
async def test_taking_all_event_streams(api: Platform) -> None:
    async with AsyncExitStack() as stack:
        codes = []
        for _ in range(api.settings.stream_clients_per_key + 1):
            opened = await stack.enter_async_context(api.http.stream("GET", "/stream"))
            codes.append(opened.status_code)
        assert codes == [200] * api.settings.stream_clients_per_key + [429]
        anna = {"Authorization": f"Bearer {ANNAS_KEY}"}
        hers = await stack.enter_async_context(api.http.stream("GET", "/stream", headers=anna))
        assert hers.status_code == 200


@over_http
async def test_positions_and_moments_that_no_store_has_a_word_for(api: Platform) -> None:
    parts = {
        "/sessions": ("station", "session"),
        "/cdrs": ("station", "session", "cdr"),
        "/cdr-documents": (),
    }
    for path, rest in parts.items():
        asked = {"station_id": "x"} if path == "/cdr-documents" else {}
        for number in (10**28, -1, 2**63, LAST + 1):
            problem(await api.http.get(path, params=asked | {"cursor": cursor_of((number, *rest))}), 422)
        await ok(await api.http.get(path, params=asked | {"cursor": cursor_of((LAST, *rest))}))
    for path in ("/sessions", "/cdrs"):
        for name in ("since", "until"):
            await ok(await api.http.get(path, params={name: "9999-12-31T23:59:59Z"}))


@over_http
async def test_server_side_request_forgery(api: Platform) -> None:
    """Nobody is sent into a network that is not public, for firmware, logs or diagnostics."""
    await located(api, "ssrf-16")
    await located(api, "ssrf-201", "ocpp2.0.1")
    past = "2026-01-01T00:00:00Z"
    firmware = {"location": "", "retrieveDateTime": past, "signingCertificate": "c", "signature": "s"}
    for url in INSIDE:
        for station, body, path in [
            ("ssrf-16", {"action": "GetDiagnostics", "payload": {"location": url}}, "location"),
            (
                "ssrf-16",
                {"action": "UpdateFirmware", "payload": {"location": url, "retrieveDate": past}},
                "location",
            ),
            (
                "ssrf-16",
                {
                    "action": "SignedUpdateFirmware",
                    "payload": {"requestId": 1, "firmware": firmware | {"location": url}},
                },
                "firmware/location",
            ),
            (
                "ssrf-201",
                {
                    "action": "GetLog",
                    "payload": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": url}},
                },
                "log/remoteLocation",
            ),
            (
                "ssrf-201",
                {
                    "action": "UpdateFirmware",
                    "payload": {"requestId": 1, "firmware": {"location": url, "retrieveDateTime": past}},
                },
                "firmware/location",
            ),
            (
                "ssrf-201",
                {
                    "action": "PublishFirmware",
                    "payload": {"requestId": 1, "location": url, "checksum": "0" * 32},
                },
                "location",
            ),
            (
                "ssrf-201",
                {
                    "command": "UpdateFirmware",
                    "payload": {"location": url, "retrieve_at": 1, "request_id": 1},
                },
                "location",
            ),
        ]:
            refusal = problem(await api.http.post(f"/stations/{station}/commands", json=body), 422)
            assert refusal["errors"][0]["path"] == f"/payload/{path}", (url, body)
        campaign = {"name": "n", "target_version": "2", "location": url, "stations": ["ssrf-16"]}
        problem(await api.http.post("/campaigns", json=campaign), 422)
    outside = {"action": "GetDiagnostics", "payload": {"location": "https://logs.example.org/in"}}
    await ok(await api.http.post("/stations/ssrf-16/commands", json=outside), 202)
