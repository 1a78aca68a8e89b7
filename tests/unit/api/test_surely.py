"""A caller is not refused for what a charger was already told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from libs.access.principal import principal
from libs.access.roles import Role
from libs.bus.errors import BusUnavailableError
from libs.bus.tables import OnChange
from libs.events.commands import RequestCommand
from libs.events.ocpp_log import StationLocated
from libs.events.record import Record
from libs.events.topics import EDGE_CONNECTIONS
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.commands.desk import CommandDesk
from services.api.context import Context, context_of
from services.api.domain.scope import Scope
from services.api.live.latest import Live
from services.api.registry.changes import Changes
from services.api.registry.table import TABLES, Registry
from services.api.settings import ApiSettings
from tests.unit.api.kept_trail import KeptTrail

KEY = "a-key-for-these-tests"


class Late:
    """Tables that show what is committed once they have caught up; `away`: nobody can tell what is."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, Record]] = {topic: {} for topic in TABLES}
        self.committed: list[tuple[str, str, Record]] = []
        self.away = False
        self.readings = 0

    def __getitem__(self, topic: str) -> dict[str, Record]:
        return self.shown[topic]

    def on_change(self, topic: str, callback: OnChange) -> None:
        pass

    async def catch_up(self) -> None:
        self.readings += 1
        if self.away:
            raise BusUnavailableError("no broker")
        for topic, key, record in self.committed:
            self.shown[topic][key] = record


class Rig:
    def __init__(self) -> None:
        self.tables = Late()
        self.sent: list[RequestCommand] = []
        registry = Registry(cast(Any, self.tables), cast(Changes, None), 5, 1)
        desk = CommandDesk(cast(Any, SimpleNamespace(write=self._write)), most_bytes=1 << 20)
        settings = ApiSettings.model_validate({"api_key": KEY})
        context = SimpleNamespace(
            settings=settings,
            registry=registry,
            desk=desk,
            sealer=None,
            live=Live(),
            scope=Scope(principal("api", [Role.PLATFORM_ADMIN]), registry),
            trail=KeptTrail(),
        )
        self.app = create_application(cast(Context, context), Health())
        self.app.dependency_overrides[context_of] = lambda: context

    async def _write(self, _topic: str, _key: str, record: RequestCommand, _trace: str | None) -> None:
        self.sent.append(record)

    def connected(self, station_id: str, version: str = "ocpp1.6") -> None:
        stamp: dict[str, Any] = {
            "event_id": "e",
            "occurred_at": 1,
            "recorded_at": 1,
            "cause_id": "e",
            "connection_epoch": 1,
        }
        record = StationLocated(
            **stamp, station_id=station_id, edge_id="e", slot=0, version=version, connected=True
        )
        self.tables.committed.append((EDGE_CONNECTIONS, station_id, record))

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers=headers, verify=False
        ) as http:
            return await http.request(method, f"/api/v1{path}", json=body)


RESET = {"action": "Reset", "payload": {"type": "Soft"}}
EXISTING = {"command": "Reset", "payload": {"kind": "soft"}}


@pytest.mark.parametrize("body", [RESET, EXISTING, RESET | {"version": "1.6"}])
async def test_a_command_right_after_the_first_boot_is_taken(body: dict[str, Any]) -> None:
    rig = Rig()
    rig.connected("cp-1")
    answer = await rig.ask("POST", "/stations/cp-1/commands", body)
    assert answer.status_code == 202, answer.text
    assert [each.station_id for each in rig.sent] == ["cp-1"]
    await rig.ask("POST", "/stations/cp-1/commands", body)
    assert rig.tables.readings == 1


async def test_nobody_who_asks_for_what_is_there_is_told_that_it_is_not() -> None:
    rig = Rig()
    rig.connected("cp-1")
    assert (await rig.ask("GET", "/stations/cp-1/state")).json()["connected"] is True
    for method, path, body in (
        ("POST", "/stations/cp-2/commands", RESET),
        ("GET", "/stations/cp-2/state", None),
        ("POST", "/stations/cp-2/variables/get", {"variables": ["A"]}),
        ("POST", "/stations/cp-2/variables/set", {"variables": [{"name": "A", "value": "1"}]}),
        ("POST", "/stations/cp-2/local-list/sync", {}),
        ("POST", "/stations/cp-2/logs", {"location": "https://logs.example.org/"}),
    ):
        before = rig.tables.readings
        assert (await rig.ask(method, path, body)).status_code == 404, path
        assert rig.tables.readings == before + 1, path


async def test_a_charger_that_came_back_with_another_version_is_addressed_by_it() -> None:
    rig = Rig()
    rig.connected("cp-1")
    await rig.tables.catch_up()
    rig.connected("cp-1", "ocpp2.0.1")
    body = {"action": "Reset", "payload": {"type": "Immediate"}, "version": "2.0.1"}
    assert (await rig.ask("POST", "/stations/cp-1/commands", body)).status_code == 202


async def test_while_nobody_can_tell_the_answer_is_to_come_again() -> None:
    rig = Rig()
    rig.tables.away = True
    answer = await rig.ask("POST", "/stations/cp-1/commands", RESET)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
