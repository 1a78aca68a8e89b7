"""A ClickHouse that is there and does not answer, as one that is stopped: it is away, not broken."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import Self, cast

import httpx
import msgspec
import pytest
from clickhouse_driver.errors import NetworkError, ServerException, SocketTimeoutError

from libs.access.principal import Principal
from libs.clickhouse import client as client_module
from libs.clickhouse.client import ClickHouseClient, ClickHouseError, ClickHouseUnavailableError
from libs.clickhouse.reader import Reader
from libs.clickhouse.settings import ClickHouseSettings
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.billing.history import History
from services.api.context import NOBODY, Context
from services.api.domain.scope import Belongings, Scope
from services.api.settings import ApiSettings
from tests.unit.api.kept_trail import KeptTrail

KEY = "a-key-for-these-tests"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing: its process is stopped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.fixture
def hanging_up() -> Iterator[int]:
    """The port of a server that ends each connection without a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)

        def serve() -> None:
            try:
                while True:
                    listener.accept()[0].close()
            except OSError:
                return

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def settings(port: int) -> ClickHouseSettings:
    return ClickHouseSettings.model_validate({"clickhouse_port": port, "clickhouse_timeout_s": 0.2})


@pytest.mark.parametrize("server", ["silent", "hanging_up"])
def test_a_server_that_says_nothing_is_away(server: str, request: pytest.FixtureRequest) -> None:
    client = ClickHouseClient(settings(request.getfixturevalue(server)))
    for _ in range(2):
        with pytest.raises(ClickHouseUnavailableError):
            client.rows("SELECT 1")


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (SocketTimeoutError("x"), True),
        (NetworkError("x"), True),
        (TimeoutError("x"), True),
        (EOFError("x"), True),
        (ServerException("too many queries", 202), True),
        (ServerException("memory", 241), True),
        (ServerException("shutting down", 394), True),
        (ServerException("syntax", 62), False),
    ],
)
def test_what_passes_is_told_from_what_is_wrong(
    error: Exception, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client_module, "Client", lambda *_, **__: SimpleNamespace(execute=fail))
    client = ClickHouseClient(settings(1))
    with pytest.raises(ClickHouseError) as raised:
        client.rows("SELECT 1")
    assert isinstance(raised.value, ClickHouseUnavailableError) is away


class Parts(msgspec.Struct):
    """What of the API's context questions about the past need."""

    settings: ApiSettings
    reader: Reader
    history: History
    trail: KeptTrail
    requester: str = ""
    principal: Principal = NOBODY

    @property
    def scope(self) -> Scope:
        """The platform's own key reaches everything, wherever it belongs."""
        return Scope(self.principal, cast(Belongings, None))

    def of(self, principal: Principal) -> Self:
        return msgspec.structs.replace(self, requester=principal.name, principal=principal)


async def test_the_api_says_when_to_come_again(silent: int) -> None:
    reader = Reader(settings(silent))
    context = Parts(ApiSettings.model_validate({"api_key": KEY}), reader, History(reader), KeptTrail())
    app = create_application(cast(Context, context), Health())
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers, verify=False
    ) as http:
        for path in ("sessions", "cdrs", "certificate-requests", "sessions/x", "cdr-documents?station_id=x"):
            answer = await http.get(f"/api/v1/{path}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), (path, answer.text)
    reader.close()
