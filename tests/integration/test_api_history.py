"""Sessions and charge records over the API, newest first."""

import time
from typing import Any

import msgspec
import pytest

from libs.events.cdr_hash import digest
from libs.events.sessions import (
    CdrCredited,
    CdrInterval,
    CdrIssued,
    CdrLine,
    CdrReading,
    CdrSource,
    CdrTax,
    SessionEnded,
)
from libs.runtime.clock import SECOND, now_us
from tests.integration.api_platform import Platform, api, ok, problem, session_ended, session_started, stamp
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- sessions and charge records


def _cdr(ended: SessionEnded, version: int = 1) -> CdrIssued:
    fields = {name: getattr(ended, name) for name in ended.__struct_fields__}
    line = CdrLine(kind="energy", quantity=1_000, unit="Wh", price_milli=45_670, amount_minor=46)
    return CdrIssued(
        **(fields | stamp(ended.recorded_at)),
        cdr_id=f"cdr-{ended.session_id}",
        version=version,
        tariff_id="T1",
        tariff_version=1,
        currency="EUR",
        amount_minor=45 + version,
        lines=(line,),
    )


async def test_sessions_and_charge_records_newest_first(api: Platform) -> None:
    base = now_us() - 3600 * SECOND
    starts = [
        session_started(f"h-{n % 2}", f"session-{n:02}", base + n * SECOND, f"card{n % 3}") for n in range(20)
    ]
    for start in starts:
        await api.emit("sessions.events", start.station_id, start)
    for start in starts[:10]:
        end = session_ended(start, start.started_at + SECOND)
        await api.emit("sessions.events", start.station_id, end)
        for version in (1, 2):
            await api.emit("billing.cdrs", start.station_id, _cdr(end, version))

    async def whole() -> bool:
        found = await ok(await api.http.get("/sessions", params={"site_id": "S9", "limit": 1000}))
        bills = await ok(await api.http.get("/cdrs", params={"limit": 1000}))
        ended = [s for s in found["items"] if s["status"] == "ended" and s["station_id"].startswith("h-")]
        return len(ended) == 10 and [bill["version"] for bill in bills["items"]] == [2] * 10

    await until(whole)

    async def walk(path: str, key: str, **params: Any) -> list[str]:
        seen: list[str] = []
        while True:
            page = await ok(await api.http.get(path, params=params))
            seen += [row[key] for row in page["items"]]
            if page["next_cursor"] is None:
                return seen
            assert len(page["items"]) == params["limit"]
            params["cursor"] = page["next_cursor"]

    before = _iso(base + 20 * SECOND)
    newest_first = [start.session_id for start in reversed(starts)]
    assert await walk("/sessions", "session_id", limit=3, until=before) == newest_first
    assert await walk("/sessions", "session_id", limit=3, station_id="H-1") == newest_first[::2]
    assert await walk("/sessions", "session_id", limit=4, id_token="CARD0", until=before) == [
        f"session-{n:02}" for n in range(18, -1, -3)
    ]
    running = await walk("/sessions", "session_id", limit=7, status="running", until=before)
    assert running == newest_first[:10]
    some = await walk(
        "/sessions", "session_id", limit=5, since=_iso(base + 3 * SECOND), until=_iso(base + 6 * SECOND)
    )
    assert some == ["session-05", "session-04", "session-03"]
    assert await walk("/cdrs", "cdr_id", limit=4) == [f"cdr-session-{n:02}" for n in range(9, -1, -1)]
    assert await walk("/cdrs", "cdr_id", limit=4, session_id="session-04") == ["cdr-session-04"]
    assert await walk("/sessions", "session_id", limit=4, id_token="' OR 1 --\\") == []

    session = await ok(await api.http.get("/sessions/session-00"))
    assert (session["energy_wh"], session["meter_start_wh"], session["status"]) == (1_000, 100, "ended")
    cdr = await ok(await api.http.get("/cdrs/cdr-session-00"))
    assert (cdr["amount_minor"], cdr["lines"][0]["price_milli"]) == (47, 45_670)
    problem(await api.http.get("/sessions/' OR '1'='1"), 404)
    problem(await api.http.get("/cdrs/none"), 404)
    problem(await api.http.get("/sessions", params={"cursor": "WyJhIl0"}), 422)


async def test_documents_come_word_by_word_in_the_order_of_their_chain(api: Platform) -> None:
    base = now_us() - 3600 * SECOND
    first = _sealed(_cdr(session_ended(session_started("chain-1", "chain-a", base), base + 2 * SECOND)))
    credit = _sealed(
        CdrCredited(
            **{
                name: getattr(first, name)
                for name in CdrCredited.__struct_fields__
                if name not in ("event_id", "previous_hash", "credited_hash", "hash")
            },
            event_id="credit",
            previous_hash=first.hash,
            credited_hash=first.hash,
        )
    )
    second = _sealed(
        msgspec.structs.replace(
            first,
            event_id="second",
            version=2,
            previous_hash=credit.hash,
            max_power_w=22_080,
            taxes=(CdrTax(name="VAT", rate_milli=19_000, net_minor=40, tax_minor=7),),
            sources=(CdrSource(topic="ocpp.transactions", partition=1, first_offset=7, last_offset=9),),
            readings=(CdrReading(at=base + SECOND, wh=500),),
            intervals=(CdrInterval(to_at=base + 2 * SECOND + 1, energy_wh=1_000, kind="charging"),),
        )
    )
    other = _sealed(
        msgspec.structs.replace(
            _cdr(session_ended(session_started("chain-1", "chain-b", base), base + 3 * SECOND)),
            previous_hash=second.hash,
        )
    )
    for document in (first, credit, second, other):
        await api.emit("billing.cdrs", "chain-1", document)

    async def of(**params: Any) -> list[Any]:
        page = await ok(await api.http.get("/cdr-documents", params=params))
        return [
            msgspec.convert(each["document"], CdrIssued if each["type"] == "CdrIssued" else CdrCredited)
            for each in page["items"]
        ]

    async def whole() -> bool:
        return len(await of(station_id="CHAIN-1")) == 4

    await until(whole)
    found = await of(station_id="CHAIN-1")
    assert found == [first, credit, second, other]
    assert [digest(each) for each in found] == [each.hash for each in found]
    assert await of(session_id="chain-a") == [first, credit, second]
    assert await of(cdr_id=other.cdr_id) == [other]
    assert await of(station_id="chain-1", hash=credit.hash) == [credit]
    assert await of(session_id="none") == []
    page = await ok(await api.http.get("/cdr-documents", params={"station_id": "chain-1", "limit": 3}))
    rest = {"station_id": "chain-1", "cursor": page["next_cursor"]}
    page = await ok(await api.http.get("/cdr-documents", params=rest))
    assert ([each["document"]["session_id"] for each in page["items"]], page["next_cursor"]) == (
        ["chain-b"],
        None,
    )
    problem(await api.http.get("/cdr-documents", params={"hash": first.hash}), 422)
    problem(await api.http.get("/cdr-documents", params=rest | {"cursor": "x"}), 422)


def _sealed(document: Any) -> Any:
    return msgspec.structs.replace(document, hash=digest(document))


def _iso(micros: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // SECOND)) + f".{micros % SECOND:06}Z"
