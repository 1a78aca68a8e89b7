"""Who tries keys: slowed, logged, and of no use against those who have one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from structlog.testing import capture_logs

from libs.runtime.clock import SECOND
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
from services.api.http import middleware
from services.api.http.wrong_keys import WrongKeys
from services.api.settings import ApiSettings
from tests.unit.api.kept_trail import KeptTrail

KEY = "a-key-for-these-tests"
MINUTE = 60 * SECOND


class Door:
    """The application's front, with a clock that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int = 20) -> None:
        self.now = MINUTE
        monkeypatch.setattr(middleware, "now_us", lambda: self.now)
        settings = ApiSettings.model_validate({"api_key": KEY, "wrong_keys": limit})
        self._app = create_application(
            cast(Context, SimpleNamespace(settings=settings, trail=KeptTrail())), Health()
        )

    async def knock(self, key: str | None, address: str = "203.0.113.7") -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self._app, client=(address, 4711))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers=headers, verify=False
        ) as http:
            return await http.get("/api/v1/me")


async def test_guesses_are_told_to_wait_and_the_right_key_never_is(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    answers = [await door.knock(f"guess-{number}") for number in range(100)]
    assert [each.status_code for each in answers] == [401] * 20 + [429] * 80
    assert (answers[20].headers["retry-after"], answers[20].headers["connection"]) == ("3", "close")
    assert (await door.knock(KEY)).status_code == 200
    # Others are not in it, nor is who shows no key at all.
    assert (await door.knock("guess", "203.0.113.8")).status_code == 401
    assert (await door.knock(None)).status_code == 401
    # Each guess puts the next one off: what is left in the end is one in three seconds.
    door.now += 3 * SECOND
    assert [(await door.knock("guess")).status_code for _ in range(3)] == [401, 429, 429]
    door.now += MINUTE
    assert (await door.knock("guess")).status_code == 401


async def test_an_outsider_has_one_allowance_for_his_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    codes = [(await door.knock("guess", f"2001:db8:1:2::{number:x}")).status_code for number in range(1, 31)]
    assert codes == [401] * 20 + [429] * 10
    assert (await door.knock("guess", "2001:db8:1:3::1")).status_code == 401


async def test_any_number_is_let_through_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch, limit=0)
    assert {(await door.knock("guess")).status_code for _ in range(100)} == {401}


def test_the_log_names_the_address_and_stays_short() -> None:
    wrong = WrongKeys(20)
    with capture_logs() as lines:
        for number in range(15_733):
            wrong.wait_s("203.0.113.7", MINUTE + number * 635)
    events = [line["event"] for line in lines]
    assert events.count("wrong_key") <= 24
    assert 1 <= events.count("wrong_keys_throttled") <= 2
    assert {line["address"] for line in lines} == {"203.0.113.7"}
    with capture_logs() as lines:
        for number in range(10_000):
            wrong.wait_s(f"10.0.{number // 256}.{number % 256}", 10 * MINUTE)
    assert len(lines) == 60


def test_of_too_many_addresses_the_oldest_are_forgotten() -> None:
    wrong = WrongKeys(1)
    addresses = [f"10.{number // 256}.{number % 256}.1" for number in range(10_001)]
    for address in addresses:
        assert wrong.wait_s(address, MINUTE) == 0
        assert wrong.wait_s(address, MINUTE) > 0
    # The log has room for lines again, and who was throttled a minute ago would not have one yet.
    later = MINUTE + 30 * SECOND
    with capture_logs() as lines:
        assert wrong.wait_s(addresses[-1], later) > 0
        assert wrong.wait_s(addresses[0], later) == 0
        assert wrong.wait_s(addresses[0], later) > 0
    assert [(line["event"], line["address"]) for line in lines] == [
        ("wrong_key", addresses[0]),
        ("wrong_keys_throttled", addresses[0]),
    ]
