"""`voltbus cdr explain`, `verify` and `sessions recall` on what the sessions processor itself issued."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.tail import read_all
from libs.clickhouse.client import ClickHouseClient
from libs.events.decisions import SessionDecisionConcluded
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.topics import OCPP_TRANSACTIONS
from libs.runtime.clock import now_us
from services.sessions.domain.processor import SessionsProcessor
from tests.integration.api_platform import Platform, api, ok
from tests.integration.test_cli import shell
from tests.patience import until
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, meter16, start16, stop16

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

TERMS = {
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": "0.30"},
                {"type": "ENERGY", "price": "0.49"},
                {"type": "PARKING_TIME", "price": "6"},
            ]
        }
    ],
    "taxes": [{"name": "VAT", "rate": "19"}],
}
LONG_AGO = now_us() // DAY * DAY - 20 * DAY


@asynccontextmanager
async def processing(api: Platform) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(TransactionalRuntime(api.bus, SessionsProcessor()).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def tell(api: Platform, station: str, exchanges: list[OcppCallReceived]) -> None:
    for each in exchanges:
        event_id = derive_id(each.event_id, station)
        record = msgspec.structs.replace(each, station_id=station, event_id=event_id, cause_id=event_id)
        await api.emit(OCPP_TRANSACTIONS, station, record)


async def issued(api: Platform, station: str, count: int) -> list[dict[str, Any]]:
    """The station's documents, once there are so many."""

    async def enough() -> Any:
        page = await ok(await api.http.get("/cdr-documents", params={"station_id": station}))
        return page["items"] if len(page["items"]) >= count else None

    found: list[dict[str, Any]] = await until(enough)
    assert len(found) == count
    return found


async def test_what_was_charged_is_explained(api: Platform) -> None:
    past = {"valid_from": "2026-01-01T00:00:00Z"}
    await ok(
        await api.http.post("/tariffs", json={"tariff_id": "day", "currency": "EUR", "terms": TERMS} | past),
        201,
    )
    await ok(
        await api.http.post(
            "/sites",
            json={
                "site_id": "north",
                "timezone": "Europe/Berlin",
                "tariffs": [{"id": "day", "valid_from": past["valid_from"]}],
            },
        ),
        201,
    )
    await ok(
        await api.http.post(
            "/stations",
            json={"station_id": "x-1", "sites": [{"id": "north", "valid_from": past["valid_from"]}]},
        ),
        201,
    )
    async with processing(api):
        first = [
            start16(1, LONG_AGO, 1_000),
            meter16(1, LONG_AGO + 30 * MINUTE, 11_000),
            meter16(1, LONG_AGO + 60 * MINUTE, 11_000),
            stop16(1, LONG_AGO + HOUR, 11_000),
        ]
        # The second session's start comes while the first one's stop is still on its way.
        second = [start16(2, LONG_AGO + 2 * HOUR, 11_000), stop16(2, LONG_AGO + 3 * HOUR, 12_000)]
        late = stop16(1, LONG_AGO + HOUR, 11_000, recorded_at=LONG_AGO + 4 * HOUR)
        await tell(api, "x-1", [*first[:3], *second, late])
        documents = await issued(api, "x-1", 4)
    assert [each["type"] for each in documents] == ["CdrIssued", "CdrIssued", "CdrCredited", "CdrIssued"]
    record = documents[-1]["document"]

    code, said, err = await shell(api, f"voltbus cdr explain {record['cdr_id']}", TZ="UTC")
    assert (code, err) == (0, "")
    assert said.endswith("verified\n")
    for fact in (
        "version 2 of 2",
        "energy by element 0: 10.000 kWh x 0.49 EUR per kWh = 4.9",
        "parking time by element 0: 0:30:00 x 6 EUR per h = 3",
        "flat by element 0: 1 x 0.3 EUR per session = 0.3",
        "VAT 19 % on 8.20 EUR: 1.56 EUR",
        "to pay: 9.76 EUR = 8.20 EUR net + 1.56 EUR tax",
        "review: no_stop -> none",
    ):
        assert fact in said
    by_session, _ = (await shell(api, f"voltbus cdr explain {record['session_id']} --json"))[1:]
    facts = json.loads(by_session)
    assert (facts["verified"], facts["record"]["hash"]) == (True, record["hash"])
    # The query that it prints finds the messages themselves.
    clickhouse = ClickHouseClient(api.settings)

    async def stored() -> list[str] | None:
        """Messages come to ClickHouse by another topic than charge records."""
        actions = [row["action"] for row in clickhouse.rows(facts["queries"][0])]
        return actions if actions[-1:] == ["StopTransaction"] else None

    actions = await until(stored)
    clickhouse.close()
    assert actions[0] == "StartTransaction"
    assert actions.count("MeterValues") == 2

    code, said, _ = await shell(api, "voltbus cdr verify X-1")
    assert (code, said) == (0, "x-1: 4 documents, the chain is whole\n")
    code, _, err = await shell(api, "voltbus cdr explain nothing")
    assert (code, "there is no charge record" in err) == (1, True)


async def test_a_forgotten_session_is_recalled(api: Platform) -> None:
    async with processing(api):
        await tell(api, "x-2", [start16(5, LONG_AGO, 0), stop16(5, LONG_AGO + HOUR, 7_000)])
        (document,) = await issued(api, "x-2", 1)
        session = document["document"]["session_id"]
        code, said, err = await shell(api, f"voltbus sessions recall {session} --reason asked --json")
        assert (code, err) == (0, "")
        decision_id = json.loads(said)["decision_id"]

        async def concluded() -> Any:
            async for message in read_all(api.bus, "billing.decided"):
                record = message.record
                if isinstance(record, SessionDecisionConcluded) and record.decision_id == decision_id:
                    return record
            return None

        outcome = await until(concluded)
        assert (outcome.applied, outcome.version) == (True, 1)
    assert len(await issued(api, "x-2", 1)) == 1
