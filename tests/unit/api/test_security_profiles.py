"""Which security profile a station is given, and who has changed what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from libs.events.registry import CredentialsRegistered, StationRegistered
from libs.events.topics import REGISTRY_CREDENTIALS, REGISTRY_STATIONS
from services.api.domain.errors import Invalid
from services.api.domain.renewal import Stamp, removal
from services.api.registry.changes import Changes
from services.api.registry.stations import NewStation, Stations, StationSettings
from services.api.settings import ApiSettings
from tests.unit.api.test_changes import Kafka, Rig

STAMP = Stamp("e-1", 1_000_000, 0, "anna")


def changed(
    old: StationRegistered | None, body: dict[str, Any], least: int = 1, *, partly: bool
) -> StationRegistered:
    registry: Any = SimpleNamespace(sites={}, least_profile=least)
    stations = Stations()
    settings = StationSettings.model_validate(body)
    return stations.changed(registry, old or stations.blank("cp1"), settings, STAMP, partly=partly)


def kept(profile: int, *, exempt: bool = False) -> StationRegistered:
    return StationRegistered(
        event_id="e-0",
        occurred_at=1,
        recorded_at=1,
        cause_id="e-0",
        station_id="cp1",
        security_profile=profile,
        profile_exempt=exempt,
    )


def test_a_station_that_is_created_without_a_profile_has_the_platforms_least() -> None:
    assert ApiSettings.model_fields["least_security_profile"].default == 1
    assert NewStation.model_validate({"station_id": "cp1"}).security_profile is None
    for least in range(4):
        made = changed(None, {}, least, partly=False)
        assert (made.security_profile, made.profile_exempt) == (least, False)


@pytest.mark.parametrize(
    ("old", "body", "profile", "exempt"),
    [
        # A number of its own, at or above the least.
        (None, {"security_profile": 2}, 2, False),
        (kept(1), {"security_profile": 3}, 3, False),
        # Below it: only by the word for it.
        (None, {"security_profile": 0, "allow_security_downgrade": True}, 0, True),
        (kept(2), {"security_profile": 0, "allow_security_downgrade": True}, 0, True),
        # One of before, which had 0 without anybody's word.
        (kept(0), {"security_profile": 0, "allow_security_downgrade": True}, 0, True),
        (kept(0), {"security_profile": 1}, 1, False),
        # Who is exempt stays so until something else is said, and may rise.
        (kept(0, exempt=True), {"security_profile": 0}, 0, True),
        (kept(0, exempt=True), {"security_profile": 1}, 1, False),
    ],
)
def test_below_the_platforms_least_goes_only_who_is_named(
    old: StationRegistered | None, body: dict[str, Any], profile: int, exempt: bool
) -> None:
    made = changed(old, body, partly=old is not None)
    assert (made.security_profile, made.profile_exempt) == (profile, exempt)


@pytest.mark.parametrize(
    ("old", "profile"), [(None, 0), (kept(0), 0), (kept(1), 0), (kept(3), 2), (kept(0, exempt=True), -1)]
)
def test_without_the_word_for_it_nobody_sinks(old: StationRegistered | None, profile: int) -> None:
    if profile < 0:
        # Replaced without a word about it: back to the platform's least.
        assert changed(old, {}, partly=False).security_profile == 1
        return
    with pytest.raises(Invalid, match="allow_security_downgrade"):
        changed(old, {"security_profile": profile}, partly=old is not None)


def test_another_change_leaves_the_profile_alone() -> None:
    for old in (kept(0), kept(0, exempt=True), kept(2)):
        made = changed(old, {"name": "x"}, partly=True)
        assert (made.security_profile, made.profile_exempt) == (old.security_profile, old.profile_exempt)


def test_every_change_names_who_made_it() -> None:
    assert changed(None, {}, partly=False).changed_by == "anna"
    assert changed(kept(1), {"name": "x"}, partly=True).changed_by == "anna"
    last = removal(kept(1), STAMP).last
    assert isinstance(last, StationRegistered)
    assert (last.changed_by, last.security_profile) == ("anna", 1)


async def test_an_entry_that_is_removed_first_says_by_whom_in_the_same_transaction() -> None:
    rig = Rig()
    kafka: Kafka = rig.kafka
    changes: Changes = rig.changes
    kafka.log[REGISTRY_STATIONS]["cp1"] = kept(1)
    password = CredentialsRegistered(
        event_id="e-2", occurred_at=1, recorded_at=1, cause_id="e-2", station_id="cp1"
    )
    kafka.log[REGISTRY_CREDENTIALS]["cp1"] = password
    try:
        await changes.make(REGISTRY_STATIONS, "cp1", lambda: {REGISTRY_STATIONS: removal(kept(1), STAMP)})
        await changes.make(
            REGISTRY_CREDENTIALS, "cp1", lambda: {REGISTRY_CREDENTIALS: removal(password, STAMP)}
        )
    finally:
        await rig.stop()
    for emits in kafka.written:
        last, end = emits
        assert (last.topic, last.key) == (end.topic, end.key)
        assert last.record is not None
        assert last.record.changed_by == "anna"  # type: ignore[attr-defined]
        assert end.record is None
    assert kafka.log[REGISTRY_STATIONS] == kafka.log[REGISTRY_CREDENTIALS] == {}
