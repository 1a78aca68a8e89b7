"""`voltbus cdr explain` and `verify`, on what the fold itself issued: golden/*.txt is what people read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from libs.events.cdr_hash import digest
from libs.events.ocpp_log import OcppCallReceived
from libs.events.plans import PrepaidAsked, PrepaidGranted
from libs.events.record import Record
from libs.events.registry import SiteRegistered, TariffVersion, TokenRegistered
from libs.events.sessions import CdrCredited, CdrIssued
from libs.events.tariffs import (
    Dimension,
    DriverPlan,
    PriceComponent,
    TariffElement,
    TariffRestrictions,
    TariffTerms,
    Tax,
)
from libs.runtime.clock import iso
from libs.tariffs.documents import render
from services.cli import app as cli
from services.cli.client import Client
from tests.unit.cli.test_cli import page, problem
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told, registry

GOLDEN = Path(__file__).parent / "golden"
Documents = list[CdrIssued | CdrCredited]


def component(kind: Dimension, price: int, **more: Any) -> PriceComponent:
    return PriceComponent(type=kind, price_milli=price, **more)


def version(terms: TariffTerms | None = None, price: int = 45_500) -> TariffVersion:
    return TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=price, terms=terms)


class Platform:
    """The API over the documents of one station."""

    def __init__(self, documents: Documents, tariff: TariffVersion | None = None) -> None:
        self.documents = documents
        self.tariff = tariff or version()
        self.gone = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path == "/cdr-documents":
            return httpx.Response(200, json=page(*self._listed(dict(request.url.params))))
        if self.gone:
            return problem(404, "there is no such thing")
        answers = {
            "/tariffs/flat": {"versions": [self._version()]},
            # Another clock than when the sessions began.
            "/sites/site-1": {"site_id": "site-1", "timezone": "UTC"},
        }
        return httpx.Response(200, json=answers[path])

    def _version(self) -> dict[str, Any]:
        terms = self.tariff.terms
        fields: dict[str, Any] = msgspec.to_builtins(self.tariff)
        return fields | {
            "valid_from": iso(self.tariff.valid_from),
            "terms": None if terms is None else render(terms, "EUR"),
        }

    def _listed(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        asked = {name: value for name, value in wanted.items() if name not in ("limit", "cursor")}
        return [
            {
                "type": type(each).__name__,
                "partition": 0,
                "offset": offset,
                "issued_at": iso(each.recorded_at),
                "document": msgspec.to_builtins(each),
            }
            for offset, each in enumerate(self.documents)
            if all(getattr(each, name) == value for name, value in asked.items())
        ]


def run_on(platform: Platform, *words: str) -> tuple[int, str]:
    client = Client("http://api", "key", httpx.MockTransport(platform))
    result = CliRunner().invoke(cli.app, ["cdr", *words], obj=client)
    return result.exit_code, result.output


def tables_of(tariff: TariffVersion) -> dict[str, dict[str, Record]]:
    tables = registry(versions=(tariff,), timezone="Europe/Berlin")
    (site,) = tables["registry.sites"].values()
    assert isinstance(site, SiteRegistered)
    tables["registry.sites"] = {"site-1": msgspec.structs.replace(site, timezone="Europe/Berlin")}
    return tables


def told(*exchanges: OcppCallReceived, tariff: TariffVersion | None = None) -> Platform:
    return Platform(Told(exchanges, tables_of(tariff or version())).documents, tariff)


def plain() -> Platform:
    return told(
        start16(1, NOON, 12_000),
        meter16(1, NOON + 20 * MINUTE, 15_500),
        stop16(1, NOON + HOUR, 21_000),
    )


def minimum() -> Platform:
    terms = TariffTerms(
        elements=(
            TariffElement(
                price_components=(component(Dimension.ENERGY, 29_000),),
                restrictions=TariffRestrictions(start_time="22:00", end_time="13:30"),
            ),
            TariffElement(
                price_components=(
                    component(Dimension.ENERGY, 49_000),
                    component(Dimension.PARKING_TIME, 600_000),
                )
            ),
        ),
        taxes=(Tax(name="VAT", rate_milli=19_000),),
        min_price_minor=500,
        idle_grace_s=600,
    )
    return told(
        event2("Started", "a", 0, NOON, 0, state="Charging"),
        event2("Updated", "a", 1, NOON + HOUR, 5_000, state="EVConnected"),
        event2("Ended", "a", 2, NOON + 80 * MINUTE, 5_000),
        tariff=version(terms),
    )


def prepaid() -> Platform:
    """12 kWh are left of a fleet's bundle; the rest is capped and discounted."""
    terms = TariffTerms(
        elements=(TariffElement(price_components=(component(Dimension.ENERGY, 55_000),)),),
        plans=(
            DriverPlan(
                group_id="fleet", prepaid_wh=200_000, discount_milli=10_000, max_price_per_kwh_milli=45_000
            ),
        ),
    )
    tables = tables_of(version(terms))
    token: dict[str, Any] = {"event_id": "t", "occurred_at": 0, "recorded_at": 0, "cause_id": "t"}
    tables["registry.tokens"] = {"tag-a": TokenRegistered(**token, id_token="tag-a", group_id="fleet")}
    station = Told(
        [start16(1, NOON, 0), meter16(1, NOON + 40 * MINUTE, 20_000), stop16(1, NOON + HOUR, 32_000)], tables
    )
    (asked,) = [each for each in station.records() if isinstance(each, PrepaidAsked)]
    granted = PrepaidGranted(
        event_id="granted",
        occurred_at=asked.occurred_at,
        recorded_at=asked.recorded_at,
        cause_id=asked.event_id,
        station_id=asked.station_id,
        group_id=asked.group_id,
        session_id=asked.session_id,
        revision=asked.revision,
        tariff_id=asked.tariff_id,
        month=asked.month,
        billed_wh=asked.billed_wh,
        granted_wh=12_000,
    )
    station.runtime.feed("billing.prepaid", asked.station_id, granted)
    return Platform(station.documents, version(terms))


def sealed(document: Any, **changes: Any) -> Any:
    changed = msgspec.structs.replace(document, **changes)
    return msgspec.structs.replace(changed, hash=digest(changed))


def corrected() -> Platform:
    return told(
        start16(1, NOON, 0),
        meter16(1, NOON + MINUTE, 300),
        start16(2, NOON + HOUR, 9_000),
        stop16(1, NOON + 30 * MINUTE, 9_000, recorded_at=NOON + 2 * HOUR),
    )


def reviewed() -> Platform:
    return told(
        start16(1, NOON, 100_000),
        meter16(1, NOON + 20 * MINUTE, 105_000),
        meter16(1, NOON + 25 * MINUTE, 500),
        stop16(1, NOON + HOUR, 6_000),
    )


CASES = [plain, minimum, prepaid, corrected, reviewed]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_explained(case: Any) -> None:
    platform = case()
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id)
    golden = GOLDEN / f"cdr-{case.__name__}.txt"
    assert re.sub("hash [0-9a-f]{16}", "hash ...", said) == golden.read_text()
    assert code == 0


def test_json_has_the_same_facts() -> None:
    platform = minimum()
    code, said = run_on(platform, "explain", platform.documents[0].session_id, "--json")
    facts = json.loads(said)
    assert (code, facts["verified"], facts["tariff"]["zone"]) == (0, True, "Europe/Berlin")
    assert facts["record"]["amount_minor"] == 595
    assert [line["element"] for line in facts["lines"]] == [0, 1, None, 1, None]
    assert facts["lines"][1]["exact_minor"] == "245/2"


def test_an_earlier_version_is_explained_too() -> None:
    platform = corrected()
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id, "--version", "1")
    assert code == 0
    assert "version 1 of 2" in said
    assert "no_stop: the end was never told" in said
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id, "--version", "7")
    assert code == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount_minor": 409}, "WRONG    hash: the content was changed"),
        ({"billed_wh": 8_000}, "WRONG    energy: 8000 Wh billed"),
        ({"meter_stop_wh": 22_000}, "WRONG    meters: by the registers 10000 Wh were delivered"),
        ({"net_minor": 400, "amount_minor": 400}, "WRONG    lines: the lines do not add up"),
        ({"previous_hash": "f" * 64}, "WRONG    chain: the document before it is missing"),
        ({"intervals": ()}, "WRONG    bill: computed again it is another one"),
    ],
)
def test_what_does_not_follow_is_wrong(changes: dict[str, Any], words: str) -> None:
    platform = plain()
    (cdr,) = platform.documents
    document = msgspec.structs.replace(cdr, **changes)
    platform.documents = [document if "hash" in words else sealed(document)]
    code, said = run_on(platform, "explain", cdr.cdr_id)
    assert words in said
    assert said.rstrip().endswith("WRONG")
    assert code == 1


def test_a_price_that_the_tariff_does_not_have_is_wrong() -> None:
    platform = plain()
    platform.tariff = version(price=45_000)
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id)
    assert (code, "WRONG    bill" in said) == (1, True)


def test_a_credit_note_over_less_is_wrong() -> None:
    platform = corrected()
    platform.documents[1] = sealed(platform.documents[1], amount_minor=-13)
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id)
    assert "WRONG    credit notes: version 1 is not taken back as it was" in said
    assert code == 1


def test_what_cannot_be_known_is_said_and_no_fault() -> None:
    platform = plain()
    platform.gone = True
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id)
    assert "unknown  bill: the tariff or the site is not configured any more" in said
    assert code == 0


def test_without_a_tariff_too_the_clock_is_the_site_s() -> None:
    tables = tables_of(version())
    (site,) = tables["registry.sites"].values()
    tables["registry.sites"] = {"site-1": msgspec.structs.replace(site, tariffs=())}
    platform = Platform(Told([start16(1, NOON, 12_000), stop16(1, NOON + HOUR, 21_000)], tables).documents)
    code, said = run_on(platform, "explain", platform.documents[0].cdr_id)
    assert "no amount: no tariff was in force" in said
    assert "(Europe/Berlin)" in said
    assert code == 0


def test_a_station_chain_is_walked() -> None:
    platform = corrected()
    code, said = run_on(platform, "verify", "CP-1")
    assert (code, said) == (0, "CP-1: 3 documents, the chain is whole\n")
    del platform.documents[1]
    code, said = run_on(platform, "verify", "CP-1")
    assert "does not follow on charge record" in said
    assert code == 1
    code, said = run_on(platform, "verify", "CP-1", "--json")
    assert len(json.loads(said)["faults"]) == 1


@pytest.mark.parametrize("command", ["explain", "verify"])
def test_nobody_has_it(command: str) -> None:
    platform = plain()
    if command == "verify":
        platform.documents.clear()
    code, _ = run_on(platform, command, "nothing")
    assert code == 1
