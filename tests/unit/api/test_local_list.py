"""Local lists as the registry wants them."""

from typing import Any

import pytest

from libs.events.registry import TokenRegistered, TokenStatus
from libs.ocpp import schemas
from libs.ocpp.semantics.abilities import Abilities
from libs.ocpp.semantics.commands import LocalListEntry
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.semantics.splitting import next_part
from libs.ocpp.versions import Version
from services.api.domain.list_updates import (
    EPOCH_S,
    PER_COMMAND,
    difference,
    next_version,
    updates,
    whole_list,
)

NOW = 1_795_348_800_000_000
SECONDS = NOW // 1_000_000 - EPOCH_S


def token(id_token: str, at: int = NOW, **fields: Any) -> TokenRegistered:
    base: dict[str, Any] = {"event_id": id_token, "occurred_at": at, "recorded_at": at, "cause_id": id_token}
    return TokenRegistered(**base, id_token=id_token, **fields)


def test_versions_grow_with_time_and_past_what_the_charger_has() -> None:
    assert next_version(NOW, 0, 1) == SECONDS
    assert next_version(NOW, SECONDS, 1) == SECONDS + 1
    assert next_version(NOW, SECONDS, 4) == SECONDS + 4
    # Whatever somebody else left there.
    assert next_version(NOW, 2**31 - 1, 1) == SECONDS
    assert next_version(2**31 * 1_000_000, 0, 1) < 2**31


def test_every_token_is_an_entry_but_those_that_the_version_cannot_hold() -> None:
    tokens = [
        token("card", status=TokenStatus.BLOCKED, valid_until=NOW, group_id="fleet"),
        token("a" * 21, type="Central", group_id="g" * 21),
        token("b" * 37),
    ]
    old = whole_list(Version.V16, tokens)
    assert (old.left_out, old.entries) == (2, (LocalListEntry("card", "Blocked", "ISO14443", NOW, "fleet"),))
    new = whole_list(Version.V201, tokens)
    assert (new.left_out, [entry.id_token for entry in new.entries]) == (1, ["card", "a" * 21])
    assert new.entries[1].id_token_type == "Central"


def test_a_difference_is_what_changed_and_what_went() -> None:
    tokens = {each.id_token: each for each in (token("old", 10), token("new", 20), token("back", 30))}
    removed = {"gone": ("gone", "Central"), "back": ("back", "ISO14443"), "x" * 21: ("x", "ISO14443")}
    wanted = difference(Version.V16, tokens, removed, since=20)
    assert [(entry.id_token, entry.status) for entry in wanted.entries] == [
        ("new", "Accepted"),
        ("back", "Accepted"),
        ("gone", None),
    ]
    assert wanted.entries[-1].id_token_type == "Central"


@pytest.mark.parametrize("version", Version)
def test_a_long_list_goes_in_commands_with_room_for_a_version_for_each_entry(version: Version) -> None:
    entries = whole_list(version, [token(f"card-{number}") for number in range(2 * PER_COMMAND + 1)]).entries
    commands = updates(entries, full=True, now=NOW, known=7)
    assert [(each.full, each.list_version, len(each.entries)) for each in commands] == [
        (True, SECONDS - 2 * PER_COMMAND, PER_COMMAND),
        (False, SECONDS - PER_COMMAND, PER_COMMAND),
        (False, SECONDS, 1),
    ]
    assert tuple(entry for each in commands for entry in each.entries) == entries
    for each in commands:
        assert schemas.validate(version, "SendLocalList", "request", encode_command(version, each)[1]) is None


def test_a_difference_stays_above_what_the_charger_has_however_it_is_cut() -> None:
    entries = whole_list(Version.V16, [token(f"card-{number}") for number in range(150)]).entries
    known = SECONDS + 5
    one_by_one = Abilities("ocpp1.6", variables={"SendLocalListMaxLength": "1"})
    versions = [
        next_part(Version.V16, each, one_by_one, done).list_version  # type: ignore[union-attr]
        for each in updates(entries, full=False, now=NOW, known=known)
        for done in range(len(each.entries))
    ]
    assert len(versions) == 150
    assert versions[0] > known
    assert versions == sorted(set(versions))


def test_an_empty_list_is_one_command() -> None:
    (command,) = updates((), full=True, now=NOW, known=0)
    assert (command.full, command.entries) == (True, ())
    payload = encode_command(Version.V16, command)[1]
    assert schemas.validate(Version.V16, "SendLocalList", "request", payload) is None


@pytest.mark.parametrize("version", Version)
def test_tokens_and_groups_are_sent_as_they_were_entered(version: Version) -> None:
    """Chargers that compare bytes find them, and those that are gone."""
    card = token("04a1", written="04A1", group_id="group1", group_written="Group1")
    wanted = difference(
        version, {"04a1": card}, {"04b2": ("04B2", "ISO14443"), "04a1": ("04A1", "ISO14443")}, 0
    )
    assert [(e.id_token, e.group_id, e.status) for e in wanted.entries] == [
        ("04A1", "Group1", "Accepted"),
        ("04B2", None, None),
    ]
