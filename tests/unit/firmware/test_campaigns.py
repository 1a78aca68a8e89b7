"""A campaign's tasks and counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.firmware import (
    CampaignProgressed,
    DefineCampaign,
    StationUpdateProgressed,
    StationUpdateStatus,
    UpdateStationFirmware,
)
from services.firmware.domain.campaigns.processor import Campaign, CampaignProcessor

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def defined(*stations: str) -> DefineCampaign:
    return DefineCampaign(
        event_id="camp",
        occurred_at=at(0),
        recorded_at=at(0),
        cause_id="camp",
        campaign_id="camp",
        name="spring",
        target_version="2.0",
        location="http://files/2.0.bin",
        stations=stations,
        requested_by="operator",
        deadline=at(3600),
    )


def progressed(station: str, status: StationUpdateStatus, seconds: float = 10) -> StationUpdateProgressed:
    event_id = f"{station}-{status}-{seconds}"
    return StationUpdateProgressed(
        event_id=event_id,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        cause_id=event_id,
        campaign_id="camp",
        station_id=station,
        status=status,
    )


class Campaigns:
    def __init__(self, *given_records: DefineCampaign | StationUpdateProgressed) -> None:
        self.runtime: MemoryRuntime[Campaign] = MemoryRuntime(CampaignProcessor())
        for record in given_records:
            self.feed(record)

    def feed(self, record: DefineCampaign | StationUpdateProgressed | CampaignProgressed) -> list[Emit]:
        topic = "firmware.progress" if isinstance(record, StationUpdateProgressed) else "firmware.campaigns"
        out = self.runtime.feed(topic, "camp", record)
        assert self.runtime.dead == []
        return out


def counts(out: list[Emit]) -> list[tuple[int, int, int, bool]]:
    return [
        (e.record.pending, e.record.installed, e.record.failed, e.record.finished)
        for e in out
        if isinstance(e.record, CampaignProgressed)
    ]


INSTALLED, FAILED = StationUpdateStatus.INSTALLED, StationUpdateStatus.FAILED


def test_every_station_gets_its_task_once() -> None:
    campaigns = Campaigns()
    out = campaigns.feed(defined("a", "b", "a"))
    tasks = [emit.record for emit in out if isinstance(emit.record, UpdateStationFirmware)]
    assert [(emit.topic, emit.key) for emit in out] == [
        ("firmware.tasks", "a"),
        ("firmware.tasks", "b"),
        ("firmware.campaigns", "camp"),
    ]
    assert [(t.station_id, t.target_version, t.location, t.deadline) for t in tasks] == [
        ("a", "2.0", "http://files/2.0.bin", at(3600)),
        ("b", "2.0", "http://files/2.0.bin", at(3600)),
    ]
    assert counts(out) == [(2, 0, 0, False)]
    assert campaigns.feed(defined("a", "b", "c")) == []


def test_final_words_are_counted_and_the_last_one_finishes() -> None:
    campaigns = Campaigns(defined("a", "b"))
    assert campaigns.feed(progressed("a", StationUpdateStatus.DOWNLOADING)) == []
    assert counts(campaigns.feed(progressed("a", INSTALLED))) == [(1, 1, 0, False)]
    assert campaigns.feed(progressed("a", INSTALLED)) == []
    assert campaigns.feed(progressed("a", FAILED)) == []
    assert counts(campaigns.feed(progressed("b", FAILED))) == [(0, 1, 1, True)]


def test_a_station_that_is_proved_after_it_failed_is_installed() -> None:
    campaigns = Campaigns(defined("a", "b"), progressed("a", FAILED))
    assert counts(campaigns.feed(progressed("a", INSTALLED, 20))) == [(1, 1, 0, False)]
    assert campaigns.feed(progressed("a", FAILED, 30)) == []
    assert counts(campaigns.feed(progressed("b", FAILED))) == [(0, 1, 1, True)]
    assert counts(campaigns.feed(progressed("b", INSTALLED, 20))) == [(0, 2, 0, True)]


def test_its_own_words_never_seem_older_than_the_ones_before() -> None:
    campaigns = Campaigns(defined("a", "b"))
    first = campaigns.feed(progressed("a", StationUpdateStatus.INSTALLED, 20))
    last = campaigns.feed(progressed("b", StationUpdateStatus.INSTALLED, 19))
    assert counts(last) == [(0, 2, 0, True)]
    told = [emit.record.recorded_at for emit in (*first, *last) if emit.record is not None]
    assert told == [at(20), at(20)]


def test_a_campaign_over_no_stations_is_finished() -> None:
    assert counts(Campaigns().feed(defined())) == [(0, 0, 0, True)]


def test_progress_before_the_definition_is_kept() -> None:
    campaigns = Campaigns(progressed("a", INSTALLED), progressed("x", FAILED))
    assert counts(campaigns.feed(defined("a", "b"))) == [(1, 1, 0, False)]
    assert campaigns.feed(progressed("y", FAILED)) == []


def test_what_it_writes_itself_is_passed_over() -> None:
    campaigns = Campaigns()
    (emit,) = (e for e in campaigns.feed(defined("a")) if e.topic == "firmware.campaigns")
    assert isinstance(emit.record, CampaignProgressed)
    assert campaigns.feed(emit.record) == []


@given(
    st.permutations([("a", INSTALLED), ("b", FAILED), ("c", FAILED), ("c", INSTALLED), ("camp", INSTALLED)]),
    st.booleans(),
)
def test_any_interleaving_ends_in_the_same_counts(
    order: list[tuple[str, StationUpdateStatus]], twice: bool
) -> None:
    campaigns = Campaigns()
    for name, status in order:
        record = defined("a", "b", "c") if name == "camp" else progressed(name, status)
        campaigns.feed(record)
        if twice:
            assert campaigns.feed(record) == []
    assert counts(campaigns.runtime.emitted)[-1] == (0, 2, 1, True)
