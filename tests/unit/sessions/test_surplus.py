"""Properties that no version lists, and empty words, change nothing of what a session is charged."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.record import Record
from libs.events.registry import TariffVersion
from libs.events.sessions import SessionEnded
from tests.unit.sessions.channel import recorded
from tests.unit.sessions.charger import Charger2, Charger16
from tests.unit.sessions.exchanges import HOUR, NOON, exchange, start16
from tests.unit.sessions.given import Told
from tests.unit.sessions.meter import visits
from tests.unit.sessions.surplus import with_surplus
from tests.unit.sessions.test_truth import EXAMPLES, VERSIONS, folded, tables_of

PRICE = (TariffVersion(version=1, valid_from=0, currency="EUR", price_per_kwh_milli=45_500),)
FLAGS = ("property_unlisted", "empty_removed")


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(version=st.sampled_from(VERSIONS), seed=st.integers(0, 2**32))
def test_surplus_properties_leave_sessions_as_they_are(version: str, seed: int) -> None:
    random = Random(seed)
    plain = [
        told
        for visit in visits(random, NOON, 60, told=False)
        for told in (
            Charger16(random, visit) if version == "ocpp1.6" else Charger2(random, visit, version)
        ).script()
    ]
    log = recorded(random, plain, slow=False)
    tables = tables_of(PRICE, "UTC")
    assert _without_flags(folded([with_surplus(random, told) for told in log], tables)) == _without_flags(
        folded(log, tables)
    )


def _without_flags(records: list[Record]) -> list[Record]:
    """The records but for the flags, and for what is over them."""
    cleared = {"quirks": (), "hash": "", "previous_hash": ""}
    return [
        msgspec.structs.replace(each, **{k: v for k, v in cleared.items() if k in each.__struct_fields__})
        for each in records
    ]


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        ({"connectorId": 1, "disconnectReason": "Cable"}, "property_unlisted"),
        ({"reason": ""}, "empty_removed"),
        ({"idTag": {}}, "value_dropped"),
        ({"transactionData": "none"}, "value_dropped"),
    ],
)
def test_a_stop_with_more_or_less_than_1_6_lists_ends_its_session(more: dict[str, object], flag: str) -> None:
    stop = {"transactionId": 7, "meterStop": 9_000, "timestamp": "2026-11-22T13:00:00Z", **more}
    told = Told([start16(7, NOON, 1_000), exchange("StopTransaction", stop, at=NOON + HOUR, quirks=(flag,))])
    (ended,) = [each for each in told.records() if isinstance(each, SessionEnded)]
    assert (ended.billed_wh, ended.review, ended.quirks) == (8_000, (), (flag,))


def test_a_stop_without_register_or_moment_ends_its_session() -> None:
    flags = ("sample_dropped", "timestamp_unreadable")
    told = Told(
        [
            start16(7, NOON, 1_000),
            exchange("StopTransaction", {"transactionId": 7}, at=NOON + HOUR, quirks=flags),
        ]
    )
    (ended,) = [each for each in told.records() if isinstance(each, SessionEnded)]
    assert ended.quirks == flags
    assert "clock_doubt" in ended.review
    assert ended.billed_wh == 0
