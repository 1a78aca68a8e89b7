"""Histories that a billing clerk can read: `golden/*.yaml`, and what they say in messages and records.

A file has a `title`, `what` happened and must come out and why, the `versions` of OCPP that it is told in, the
`messages` and the `records` that they lead to. `shows` names the failure of real chargers that it is about. Moments are
HH:MM of `day` (`+1d 00:30`: the day after) by the clocks of `times`.

    12:00 start 7, register 1000, connector 2, tag TAG-B        StartTransaction that was answered with id 7
    12:10 sample 7, register 1.5 kWh                            MeterValues; `sample -`: without transaction id
    12:30 stop 7, register 2000, arrives 14:00                  StopTransaction that was recorded at 14:00 only
    12:00 start 7, register 1000, answered Blocked              what was said of the token; else Accepted
    12:00 Started a seq 0, register 1000, Charging              TransactionEvent
    12:05 boot                                                  BootNotification
    12:05 status Available, connector 1                         StatusNotification
    12:06 tariff version 2 at 0.60, from 12:30                  an operator adds a version
    12:07 decision accept a                                     an operator decides about the session's last version
    10 days pass
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml

from libs.events.decisions import Decision, SessionDecided
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
    TokenRegistered,
)
from libs.tariffs.documents import parse
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, STATION, exchange
from tests.unit.sessions.said import Said

FOLDER = Path(__file__).parent / "golden"
US = 1_000_000
UNITS = {"minutes": MINUTE, "hours": HOUR, "days": DAY}
VERSIONS = {"1.6": "ocpp1.6", "2.0.1": "ocpp2.0.1", "2.1": "ocpp2.1"}
OF_TRANSACTIONS = ("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent")
LIFECYCLE = "ocpp.lifecycle"
TRANSACTIONS = "ocpp.transactions"
DECISIONS = "billing.decisions"

HEAD = re.compile(r"(?P<at>(\+\d+d )?\d\d:\d\d(:\d\d)?) (?P<kind>\w+)( (?P<tx>[-\w]+))?( seq (?P<seq>\d+))?")
PASSES = re.compile(r"(\d+) (minutes|hours|days) pass")
TARIFF = re.compile(r"(?P<at>\S+) tariff version (?P<version>\d+) at (?P<price>[\d.]+), from (?P<from>.+)")
DECIDED = re.compile(
    r"(?P<at>(\+\d+d )?\S+) decision (?P<what>accept|adjust to (?P<wh>\d+)|write off) (?P<tx>\S+)"
)


@dataclass(frozen=True)
class Pass:
    """Time goes by."""

    length: int


@dataclass(frozen=True)
class Told:
    """A record comes in."""

    topic: str
    record: OcppCallReceived


@dataclass(frozen=True)
class Added:
    """A version of the tariff is added."""

    version: TariffVersion


@dataclass(frozen=True)
class Decided:
    """An operator decides about the last version of a transaction's record."""

    at: int
    transaction_id: str
    decision: Decision
    billed_wh: int | None


Happening = Pass | Told | Added | Decided


@dataclass
class History:
    """One file, in one version of OCPP."""

    path: Path
    version: str
    data: dict[str, Any]
    day: date = field(init=False)
    zone: ZoneInfo = field(init=False)

    def __post_init__(self) -> None:
        self.day = date.fromisoformat(str(self.data.get("day", "2026-11-22")))
        self.zone = ZoneInfo(self.data.get("times", "UTC"))

    @property
    def name(self) -> str:
        return f"{self.path.stem} {self.version}"

    @property
    def detailed(self) -> bool:
        """Whether charges are shown with their lines: where the tariff is more than one price."""
        return any("terms" in version for version in self.data.get("tariff") or ())

    # --- moments

    def moment(self, text: str) -> int:
        """HH:MM of the day, by the file's clocks; an ISO date and time by the same."""
        if "T" in text:
            local = datetime.fromisoformat(text)
        else:
            found = re.fullmatch(r"(\+(?P<days>\d+)d )?(?P<time>\d\d:\d\d(:\d\d)?)", text)
            assert found is not None, text
            day = self.day + timedelta(days=int(found["days"] or 0))
            local = datetime.fromisoformat(f"{day}T{found['time']}")
        return int(local.replace(tzinfo=self.zone).timestamp()) * US

    def clock(self, at: int) -> str:
        local = datetime.fromtimestamp(at // US, self.zone)
        days = (local.date() - self.day).days
        text = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
        return f"+{days}d {text}" if days else text

    @property
    def begin(self) -> int:
        return self.moment("00:00")

    # --- the registry

    def tables(self) -> dict[str, dict[str, Record]]:
        base: dict[str, Any] = {"event_id": "e", "occurred_at": NOON, "recorded_at": NOON, "cause_id": "e"}
        station, site = self.data.get("station", {}), self.data.get("site", {})
        here = () if site is None else (Assignment(id="site-1", valid_from=0),)
        kw = station.get("power_kw", 22.08)
        ratings = () if kw is None else (PowerRating(power_w=round(kw * 1000), valid_from=0),)
        versions = tuple(
            map(self.tariff_version, self.data.get("tariff", [{"version": 1, "price": "0.455"}]) or ())
        )
        return {
            "registry.stations": {
                STATION: StationRegistered(
                    **base,
                    station_id=STATION,
                    sites=here,
                    timezone=station.get("zone"),
                    power_ratings=ratings,
                )
            },
            "registry.sites": {
                "site-1": SiteRegistered(
                    **base,
                    site_id="site-1",
                    timezone=(site or {}).get("zone", "UTC"),
                    tariffs=(Assignment(id="flat", valid_from=0),),
                )
            },
            "registry.tariffs": {"flat": TariffRegistered(**base, tariff_id="flat", versions=versions)},
            "registry.tokens": {
                tag.casefold(): TokenRegistered(**base, id_token=tag, group_id=group)
                for tag, group in self.data.get("drivers", {}).items()
            },
        }

    def tariff_version(self, written: dict[str, Any]) -> TariffVersion:
        since = written.get("from")
        currency = written.get("currency", "EUR")
        return TariffVersion(
            version=written["version"],
            valid_from=0 if since is None else self.moment(str(since)),
            currency=currency,
            price_per_kwh_milli=int(Decimal(str(written.get("price", "0"))) * 100_000),
            terms=parse(written["terms"], currency) if "terms" in written else None,
        )

    # --- what happens

    def happenings(self) -> Iterator[Happening]:
        now = self.begin
        messages = self.data["messages"]
        if isinstance(messages, dict):
            messages = messages["1.6" if self.version == "1.6" else "2.x"]
        for number, text in enumerate(messages):
            if found := PASSES.fullmatch(text):
                length = int(found[1]) * UNITS[found[2]]
                now += length
                yield Pass(length)
            elif found := TARIFF.fullmatch(text):
                written = {"version": int(found["version"]), "price": found["price"], "from": found["from"]}
                yield Added(self.tariff_version(written))
            elif found := DECIDED.fullmatch(text):
                now = max(now, self.moment(found["at"]))
                decision = Decision(found["what"].split(" to ")[0].replace(" ", "_"))
                yield Decided(now, found["tx"], decision, None if found["wh"] is None else int(found["wh"]))
            else:
                told = self.message(text, number, now)
                now = max(now, told.record.recorded_at)
                yield told

    def message(self, text: str, number: int, now: int) -> Told:
        head, *clauses = text.split(", ")
        found = HEAD.fullmatch(head)
        assert found is not None, text
        said = Said(self.version, self.moment, self.moment(found["at"]), found["kind"])
        said.tx, said.seq = found["tx"] or "", int(found["seq"] or 0)
        for clause in clauses:
            said.read(clause)
        action, payload, answer = said.call()
        recorded = max(now, said.at + SECOND) if said.arrives is None else said.arrives
        record = exchange(
            action,
            payload,
            at=said.at,
            version=VERSIONS[self.version],
            answer=answer,
            event=str(number),
            recorded_at=recorded,
            quirks=tuple(said.quirks),
        )
        made = self.data.get("station", {})
        named = {key: str(made[key]) for key in ("vendor", "model", "firmware") if key in made}
        topic = (
            LIFECYCLE
            if action in ("BootNotification", "StatusNotification", "FirmwareStatusNotification")
            else TRANSACTIONS
        )
        return Told(topic, msgspec.structs.replace(record, **named))


def table() -> str:
    """The histories as a table for docs/session-histories.md; with how real chargers fail first."""
    rows = []
    for path in sorted(FOLDER.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        link = f"[{path.stem}](../tests/unit/sessions/golden/{path.name})"
        rows.append((data.get("shows", "~"), data["title"], f"{link} | {', '.join(data['versions'])}"))
    rows.sort()
    lines = [f"| {'' if shows == '~' else shows} | {title} | {rest} |" for shows, title, rest in rows]
    return "\n".join(["| what real chargers do | history | file | OCPP |", "|---|---|---|---|", *lines])


def histories() -> list[History]:
    """Every history in every version that it is told in."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(messages := data["messages"], dict):
            data["messages"] = {str(key): said for key, said in messages.items()}
        found += [History(path, version, data) for version in data["versions"]]
    return found


def decided(
    history: History, at: int, session_id: str, version: int, what: Decided, number: int
) -> SessionDecided:
    """The operator's decision as the log has it."""
    event_id = derive_id(history.name, f"decision {number}")
    return SessionDecided(
        event_id=event_id,
        occurred_at=at,
        recorded_at=at,
        cause_id=event_id,
        station_id=STATION,
        session_id=session_id,
        decision=what.decision,
        billed_wh=what.billed_wh,
        version=version,
        reason="as agreed with the driver",
        decided_by="clerk",
    )
