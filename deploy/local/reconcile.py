"""Do the figures agree: chargers' meters, sessions, charge records, ClickHouse, and what drivers were shown?"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec
from rich.table import Table

from libs.bus.bus import Bus
from libs.bus.tail import read_all
from libs.clickhouse.client import ClickHouseClient, ClickHouseUnavailableError
from libs.clickhouse.settings import ClickHouseSettings
from libs.events.sessions import CdrIssued, SessionCorrected, SessionEnded, SessionReopened
from libs.events.topics import BILLING_CDRS, SESSIONS_EVENTS
from libs.tariffs.currency import minor_digits

T = TypeVar("T")

Energies = Mapping[tuple[str, str], int]
"""Wh by station and OCPP transaction id."""

SETTLE_S = 60.0


class Truth(Protocol):
    """What a charger's own meter says of one session."""

    @property
    def station_id(self) -> str:
        """As the charger writes it."""

    @property
    def transaction_id(self) -> str:
        """OCPP transaction id."""

    @property
    def energy_wh(self) -> int:
        """Delivered, Wh."""


class Shown(Protocol):
    """What the driver of one session was shown."""

    @property
    def station_id(self) -> str:
        """As the charger writes it."""

    @property
    def transaction_id(self) -> str:
        """OCPP transaction id."""

    @property
    def total_cost(self) -> float | None:
        """In the end, in units of the currency; None: nothing."""


class Source(msgspec.Struct, frozen=True):
    """One place where sessions are counted, and what is counted there."""

    name: str
    energies: Energies

    @property
    def energy_wh(self) -> int:
        """The sum."""
        return sum(self.energies.values())


class Reconciliation(msgspec.Struct, frozen=True):
    """The chargers' truth beside what each place says."""

    truth: Source
    others: tuple[Source, ...]

    @property
    def agrees(self) -> bool:
        """Whether every place has exactly the truth's sessions, each to the Wh."""
        return all(other.energies == self.truth.energies for other in self.others)

    def differences(self, most: int = 10) -> list[str]:
        """What differs, for people."""
        lines = []
        for other in self.others:
            keys = sorted(set(self.truth.energies) | set(other.energies))
            for key in keys:
                true, said = self.truth.energies.get(key), other.energies.get(key)
                if true != said:
                    lines.append(f"{other.name}: {key[0]} transaction {key[1]}: {said} Wh instead of {true}")
        return lines[:most] + ([f"... and {len(lines) - most} more"] if len(lines) > most else [])

    def table(self) -> Table:
        """The sums, for people."""
        table = Table(title="Energy, from the meters to the analysts")
        table.add_column("counted in")
        for title in ("sessions", "energy Wh", ""):
            table.add_column(title, justify="right")
        for source in (self.truth, *self.others):
            same = source.energies == self.truth.energies
            table.add_row(
                source.name,
                str(len(source.energies)),
                f"{source.energy_wh:,}",
                "agrees" if same else "DIFFERS",
            )
        return table


async def reconcile(
    truths: Iterable[Truth], bus: Bus, clickhouse: ClickHouseSettings, settle_s: float = SETTLE_S
) -> Reconciliation:
    """Compare until everything agrees, at most for `settle_s` seconds: processors and sink may have some way to go."""
    truth = Source(
        "chargers' own meters",
        {(truth.station_id.casefold(), truth.transaction_id): truth.energy_wh for truth in truths},
    )
    deadline = asyncio.get_running_loop().time() + settle_s
    while True:
        stored = await _answer(clickhouse, _energies_stored, deadline)
        result = Reconciliation(truth, (*await _from_log(bus), *stored))
        if result.agrees or asyncio.get_running_loop().time() > deadline:
            return result
        await asyncio.sleep(1)


async def _from_log(bus: Bus) -> tuple[Source, Source]:
    sessions: dict[str, SessionEnded | SessionCorrected] = {}
    async for message in read_all(bus, SESSIONS_EVENTS):
        if isinstance(message.record, SessionEnded | SessionCorrected):
            sessions[message.record.session_id] = message.record
        elif isinstance(message.record, SessionReopened):
            sessions.pop(message.record.session_id, None)
    cdrs: dict[str, CdrIssued] = {}
    async for message in read_all(bus, BILLING_CDRS):
        record = message.record
        if isinstance(record, CdrIssued) and (
            record.cdr_id not in cdrs or record.version > cdrs[record.cdr_id].version
        ):
            cdrs[record.cdr_id] = record
    return (
        Source("sessions (Kafka sessions.events)", _energies(sessions.values())),
        Source("charge records (Kafka billing.cdrs)", _energies(cdrs.values())),
    )


def _energies(records: Iterable[SessionEnded | SessionCorrected | CdrIssued]) -> Energies:
    energies: dict[tuple[str, str], int] = {}
    for record in records:
        key = (record.station_id, record.transaction_id)
        # Two sessions of one transaction would be a double bill: let it show.
        energies[key] = energies.get(key, 0) + record.energy_wh
    return energies


async def _answer(
    settings: ClickHouseSettings, question: Callable[[ClickHouseClient], T], deadline: float
) -> T:
    """Ask ClickHouse, again while it is away, until the event loop's clock shows `deadline`."""
    client = ClickHouseClient(settings)
    try:
        while True:
            try:
                return await asyncio.to_thread(question, client)
            except ClickHouseUnavailableError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(1)
    finally:
        client.close()


def _energies_stored(client: ClickHouseClient) -> tuple[Source, Source]:
    ended = "SELECT station_id, transaction_id, sum(energy_wh) AS wh FROM sessions WHERE status != 'running'"
    cdrs = "SELECT station_id, transaction_id, sum(energy_wh) AS wh FROM cdrs"
    group = " GROUP BY station_id, transaction_id"
    return (
        Source("sessions (ClickHouse)", _rows(client, ended + group)),
        Source("charge records (ClickHouse)", _rows(client, cdrs + group)),
    )


def _rows(client: ClickHouseClient, sql: str) -> Energies:
    return {(row["station_id"], row["transaction_id"]): int(row["wh"]) for row in client.rows(sql)}


class ShownTotals(msgspec.Struct, frozen=True):
    """How many drivers were shown a total, and of which sessions (station, transaction) no charge record says so."""

    shown: int
    wrong: tuple[tuple[str, str], ...]


async def check_totals(sessions: Iterable[Shown], bus: Bus) -> ShownTotals:
    """Compare what drivers were shown with the charge records, which were written before it was shown."""
    charged: dict[tuple[str, str], set[float]] = defaultdict(set)
    async for message in read_all(bus, BILLING_CDRS):
        record = message.record
        if isinstance(record, CdrIssued) and record.currency is not None:
            amount = record.amount_minor / 10 ** minor_digits(record.currency)
            charged[record.station_id, record.transaction_id].add(amount)
    shown = {
        (session.station_id.casefold(), session.transaction_id): session.total_cost
        for session in sessions
        if session.total_cost is not None
    }
    return ShownTotals(len(shown), tuple(key for key, total in shown.items() if total not in charged[key]))


class AnsweredCalls(msgspec.Struct, frozen=True):
    """Calls that chargers saw answered, and how often each stands in ClickHouse."""

    answered: int
    missing: tuple[tuple[str, str], ...]
    doubled: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """Whether each stands there exactly once."""
        return not self.missing and not self.doubled


async def find_answered_calls(
    answered: Iterable[tuple[str, str]], clickhouse: ClickHouseSettings, settle_s: float = SETTLE_S
) -> AnsweredCalls:
    """Look for each (station id, message id) in ClickHouse, at most `settle_s` seconds for those still on their way."""
    wanted = [(station.casefold(), message_id) for station, message_id in answered]
    deadline = asyncio.get_running_loop().time() + settle_s
    while True:
        found = await _answer(clickhouse, _exchanges, deadline)
        missing = tuple(call for call in wanted if not found.get(call))
        doubled = tuple(call for call in wanted if found.get(call, 0) > 1)
        if not missing or asyncio.get_running_loop().time() > deadline:
            return AnsweredCalls(len(wanted), missing, doubled)
        await asyncio.sleep(1)


def _exchanges(client: ClickHouseClient) -> dict[tuple[str, str], int]:
    rows = client.rows(
        "SELECT station_id, message_id, count() AS times FROM raw_messages "
        "WHERE direction = 'from station' GROUP BY station_id, message_id"
    )
    return {(row["station_id"], row["message_id"]): int(row["times"]) for row in rows}
