"""Which default limit was overtaken depends on the order of topics: news of it may differ in a replay (ADR 0007)."""

from __future__ import annotations

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.ids import derive_id
from libs.events.load import StationNews, StationObserved
from libs.events.ocpp_log import CallOutcome, OcppCallSent, StationLocated
from libs.events.record import Record
from libs.events.registry import Assignment, SiteRegistered, StationRegistered
from services.commands.domain.ledger.processor import CommandsProcessor
from services.load.domain.sites.processor import LoadProcessor
from services.load.domain.stations.processor import LoadObserver
from tests.e2e.replayed import comparable
from tests.unit.load.records import STATION, at, envelope
from tests.unit.load.stations.test_whereabouts import boot

SITE = "depot"
REGISTERED = StationRegistered(
    **envelope("registered", 0), sites=(Assignment(id=SITE, valid_from=at(-3600)),)
)
LIMIT = SiteRegistered(
    event_id="site",
    occurred_at=at(0),
    recorded_at=at(0),
    cause_id="site",
    site_id=SITE,
    limit_ma=100_000,
)
LOCATED = StationLocated(
    **envelope("located", 5), edge_id="edge-0", slot=0, connection_epoch=1, version="ocpp1.6", connected=True
)
BOOTS = (boot(10), boot(12))


def sent(command: RequestCommand, seconds: float) -> OcppCallSent:
    """The station accepted a command, as its edge tells."""
    dispatch_id = derive_id(command.event_id, "dispatch:1")
    fields = {**envelope(derive_id(dispatch_id, "sent"), seconds), "cause_id": dispatch_id}
    return OcppCallSent(
        **fields,
        connection_epoch=1,
        edge_id="edge-0",
        command_id=command.event_id,
        version="ocpp1.6",
        message_id="m",
        action="SetChargingProfile",
        payload="{}",
        outcome=CallOutcome.RESULT,
        result='{"status":"Accepted"}',
        sent_at=at(seconds),
        round_trip_us=1000,
    )


def fates(*inputs: tuple[str, Record]) -> list[CommandConcluded]:
    """What the ledger says of the commands."""
    ledger = MemoryRuntime(CommandsProcessor())
    out = [emit.record for topic, record in inputs for emit in ledger.feed(topic, STATION, record)]
    return [record for record in out if isinstance(record, CommandConcluded)]


class Depot:
    """A limited site and its station."""

    def __init__(self) -> None:
        tables: dict[str, dict[str, Record]] = {"registry.stations": {STATION: REGISTERED}}
        self.observer = MemoryRuntime(LoadObserver(), tables)
        self.planner = MemoryRuntime(LoadProcessor(), tables)
        self.planner.feed("registry.sites", SITE, LIMIT)

    def observed(self, topic: str, record: Record) -> list[StationObserved]:
        out = self.observer.feed(topic, STATION, record)
        return [emit.record for emit in out if isinstance(emit.record, StationObserved)]

    def asked(self, topic: str, record: Record) -> list[RequestCommand]:
        """The commands that follow from what is observed."""
        news = self.observed(topic, record)
        out: list[Emit] = [emit for each in news for emit in self.planner.feed("load.stations", SITE, each)]
        return [emit.record for emit in out if isinstance(emit.record, RequestCommand)]


def test_an_overtaken_default_limit_is_news_only_in_one_order_and_changes_nothing() -> None:
    asking = Depot()
    first, second = [command for each in BOOTS for command in asking.asked("ocpp.lifecycle", each)]
    assert first.replaces == second.replaces == "default-limit"
    requests = [("commands.requested", first), ("commands.requested", second)]
    results = [("ocpp.commands", sent(first, 13)), ("ocpp.commands", sent(second, 14))]
    # The first is under way when the second comes. A replay has only the last connection, which may come last.
    live = fates(("edge.connections", LOCATED), *requests, *results)
    replayed = fates(*requests, *results, ("edge.connections", LOCATED))
    assert [each.fate for each in live] == [Fate.ACCEPTED, Fate.ACCEPTED]
    assert [(each.command_id, each.fate) for each in replayed] == [
        (first.event_id, Fate.EXPIRED),
        (second.event_id, Fate.ACCEPTED),
    ]

    states, told = [], []
    for concluded in (live, replayed):
        depot = Depot()
        news = [each for boots in BOOTS for each in depot.observed("ocpp.lifecycle", boots)]
        news += [each for fate in concluded for each in depot.observed("commands.outcomes", fate)]
        for each in news:
            depot.planner.feed("load.stations", SITE, each)
        states.append(depot.planner.state_of(SITE))
        told.append(news)
    assert [each.news for each in told[0]] == [StationNews.BOOTED] * 2
    assert [each.news for each in told[1]] == [StationNews.BOOTED] * 2 + [StationNews.UNREACHED]
    assert told[1][-1].command_id == first.event_id
    assert states[0] == states[1]
    kept = [[compared for each in news if (compared := comparable(each))] for news in told]
    assert kept[0] == kept[1] == told[0]
