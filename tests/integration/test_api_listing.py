"""Lists of sessions and charge records over a long past: what is found, and how little is read for it."""

import itertools
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from clickhouse_driver import Client

from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.migrate import migrate
from libs.clickhouse.reader import Reader
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints
from services.api.billing.listing import CDRS, SESSIONS, Listing, Wanted, page

PAST = 300_000
LIMIT = 20
GRANULE = 1024
MOST_READ = 6 * (LIMIT + 1) * GRANULE
"""For each row of the page a few granules, in the index and in the view; nothing grows with the past."""
SECOND = 1_000_000
EPOCH = 1_700_000_000 * SECOND

SESSION = {
    "_partition": "n % 500 % 4",
    "station_id": "concat('cp-', toString(n % 500))",
    "session_id": "concat('s-', hex(sipHash64(n)))",
    "site_id": "if(n % 140000 = 7, 'seldom', concat('site-', toString(n % 50)))",
    "started_at": "fromUnixTimestamp64Micro(toInt64(1700000000 + n * 10) * 1000000, 'UTC')",
}
TOKEN = "if(n % 140000 = 11, 'rare', concat('Card-', toString(sipHash64(n) % 10000)))"
RUNNING = "(n % 90000 = 13 OR n >= 299900)"
"""Some that never ended, and those of the last minutes."""
# The token of LATE comes with an update, that of RENAMED changes with one; a start and a token are corrected.
LATE, RENAMED, MOVED, CORRECTED = 13, 90_013, 150_000, 160_000
ENDED = {**SESSION, "id_token": TOKEN, "ended_at": "started_at + toIntervalSecond(3600)", "energy_wh": "7000"}
BILL = {
    **ENDED,
    "cdr_id": "concat('cdr-', session_id)",
    "tariff_id": "if(n % 140000 = 17, 'odd', 'usual')",
    "version": "1",
}


class Watched:
    """A reader that adds up the rows that the server read."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._client = Client(settings.clickhouse_host, port=settings.clickhouse_port)
        self._client.execute(f"USE {settings.clickhouse_database}")
        self.read = 0

    async def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        rows, columns = self._client.execute(sql, dict(params or {}), with_column_types=True)
        self.read += self._client.last_query.progress.rows
        return [dict(zip((name for name, _ in columns), row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def past(stack: Endpoints) -> Iterator[ClickHouseSettings]:
    settings = ClickHouseSettings(
        clickhouse_host=stack.clickhouse_host,
        clickhouse_port=stack.clickhouse_port,
        clickhouse_database=f"listing{secrets.token_hex(3)}",
    )
    migrate(settings)
    client = ClickHouseClient(settings)

    def fill(table: str, kind: str, number: int, values: Mapping[str, str], where: str) -> None:
        row = {
            "_type": f"'{kind}'",
            "_offset": f"n * 8 + {number}",
            "recorded_at": f"{SESSION['started_at']} + {number}",
            **values,
        }
        columns = ", ".join(f"{value} AS {name}" for name, value in row.items())
        client.execute(
            f"INSERT INTO {table}_feed ({', '.join(row)}) SELECT {columns}"
            f" FROM (SELECT number AS n FROM numbers({PAST})) WHERE {where}"
        )

    try:
        fill("sessions_events", "SessionStarted", 0, {**SESSION, "id_token": TOKEN}, f"n != {LATE}")
        fill("sessions_events", "SessionEnded", 2, ENDED, f"NOT {RUNNING}")
        fill("billing_cdrs", "CdrIssued", 2, BILL, f"NOT {RUNNING}")
        for table in ("sessions_latest", "sessions_by_start", "cdrs_latest", "cdrs_by_end"):
            client.execute(f"OPTIMIZE TABLE {table} FINAL")
        # What came later is not merged with it yet.
        fill("sessions_events", "SessionStarted", 0, SESSION, f"n = {LATE}")
        unstarted = {name: value for name, value in SESSION.items() if name != "started_at"}
        fill("sessions_events", "SessionUpdated", 1, {**unstarted, "id_token": "'Late'"}, f"n = {LATE}")
        fill("sessions_events", "SessionUpdated", 1, {**unstarted, "id_token": "'another'"}, f"n = {RENAMED}")
        amended = {**ENDED, "id_token": "'amended'", "correction": "1"}
        fill("sessions_events", "SessionCorrected", 3, amended, f"n = {CORRECTED}")
        earlier = {
            "started_at": "fromUnixTimestamp64Micro(toInt64(1690000000000000), 'UTC')",
            "correction": "2",
        }
        fill("sessions_events", "SessionCorrected", 3, {**ENDED, **earlier}, f"n = {MOVED}")
        fill("billing_cdrs", "CdrIssued", 3, {**BILL, "version": "2", "tariff_id": "'odd'"}, f"n = {MOVED}")
        yield settings
    finally:
        client.execute(f"DROP DATABASE {settings.clickhouse_database}")
        client.close()


def wanted(**values: str) -> Wanted:
    return Wanted(values)


SESSION_FILTERS = [
    wanted(),
    wanted(station_id="cp-7", status="running"),
    wanted(station_id="cp-13", status="running"),
    wanted(status="running"),
    wanted(status="ended"),
    wanted(site_id="site-3"),
    wanted(site_id="seldom"),
    wanted(site_id="nowhere"),
    wanted(id_token="card-1"),
    wanted(id_token="rare"),
    wanted(id_token="late"),
    wanted(id_token="another"),
    wanted(id_token="amended"),
    wanted(id_token="nobody"),
    wanted(site_id="site-13", status="running"),
    wanted(site_id="seldom", status="running"),
    wanted(id_token="late", site_id="site-13", status="running"),
    wanted(id_token="rare", status="ended"),
    Wanted({"status": "running"}, since=EPOCH, until=EPOCH + 2_000_000 * SECOND),
    Wanted({"site_id": "site-3"}, since=EPOCH + 500_000 * SECOND, until=EPOCH + 600_000 * SECOND),
    Wanted({}, until=EPOCH),
]
CDR_FILTERS = [
    wanted(),
    wanted(station_id="cp-7", tariff_id="odd"),
    wanted(session_id="none"),
    wanted(site_id="site-3"),
    wanted(site_id="seldom"),
    wanted(id_token="card-1"),
    wanted(id_token="rare"),
    wanted(tariff_id="usual"),
    wanted(tariff_id="odd"),
    wanted(tariff_id="none"),
    wanted(tariff_id="odd", site_id="site-17"),
]
LISTS = [(SESSIONS, each) for each in SESSION_FILTERS] + [(CDRS, each) for each in CDR_FILTERS]


def told(listing: Listing, asked: Wanted) -> str:
    values = " ".join(f"{name}={value}" for name, value in asked.values.items())
    return f"{listing.view} {values or 'all'}" + (" in time" if asked.until else "")


@pytest.mark.parametrize(("listing", "asked"), LISTS, ids=itertools.starmap(told, LISTS))
async def test_a_page_is_right_and_reads_little(
    past: ClickHouseSettings, listing: Listing, asked: Wanted
) -> None:
    watched = Watched(past)
    rows, cursor = await page(cast(Reader, watched), listing, asked, LIMIT, None)
    assert watched.read < MOST_READ

    # Tokens are shown as they were told, and found in whatever case.
    conditions = ["1", *(f"lower({name}) = '{value}'" for name, value in asked.values.items())]
    for moment, sign in ((asked.since, ">="), (asked.until, "<")):
        if moment is not None:
            conditions.append(f"{listing.order[0]} {sign} fromUnixTimestamp64Micro({moment}, 'UTC')")
    every = await watched.rows(
        f"SELECT {', '.join(listing.order)} FROM {listing.view} WHERE {' AND '.join(conditions)}"
        f" ORDER BY {listing.newest_first} LIMIT {LIMIT + 1}"
    )
    assert [[row[name] for name in listing.order] for row in rows] == [
        list(row.values()) for row in every[:LIMIT]
    ]
    assert (cursor is not None) == (len(every) > LIMIT)


async def test_what_the_index_tells_of_earlier_is_not_taken_for_wanted(past: ClickHouseSettings) -> None:
    watched = cast(Reader, Watched(past))
    late, _ = await page(watched, SESSIONS, wanted(id_token="late"), LIMIT, None)
    assert [(row["id_token"], row["status"]) for row in late] == [("Late", "running")]
    another, _ = await page(watched, SESSIONS, wanted(id_token="another"), LIMIT, None)
    assert [(row["id_token"], row["status"]) for row in another] == [("another", "running")]
    amended, _ = await page(watched, SESSIONS, wanted(id_token="amended"), LIMIT, None)
    (session,) = amended
    assert (session["id_token"], session["correction"]) == ("amended", 1)
    of_old_token = await watched.rows(
        "SELECT arrayJoin(id_tokens) AS token FROM sessions_by_start WHERE session_id = %(session_id)s"
        " AND token != 'amended'",
        {"session_id": session["session_id"]},
    )
    old, _ = await page(watched, SESSIONS, wanted(id_token=of_old_token[0]["token"]), PAST, None)
    assert old
    assert session["session_id"] not in {row["session_id"] for row in old}
    moved, _ = await page(watched, SESSIONS, Wanted({}, until=EPOCH), LIMIT, None)
    assert [row["correction"] for row in moved] == [2]
    odd, _ = await page(watched, CDRS, wanted(tariff_id="odd"), LIMIT, None)
    assert sorted(row["version"] for row in odd) == [1, 1, 1, 2]


async def test_the_pages_of_a_rare_filter_end(past: ClickHouseSettings) -> None:
    watched = cast(Reader, Watched(past))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        rows, cursor = await page(watched, SESSIONS, wanted(status="running"), LIMIT, cursor)
        seen += [row["session_id"] for row in rows]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 100 + len(range(13, 299_900, 90_000))
