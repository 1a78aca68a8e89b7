"""Local lists as the registry wants them."""

from typing import Any

import pytest

from libs.events.registry import TokenRegistered, TokenStatus
from libs.ocpp import schemas
from libs.ocpp.semantics.commands import LocalListEntry
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.versions import Version
from services.api.domain.local_list import (
    EPOCH_S,
    difference,
    messages,
    next_version,
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
    removed = {"gone": "Central", "back": "ISO14443", "x" * 21: "ISO14443"}
    wanted = difference(Version.V16, tokens, removed, since=20)
    assert [(entry.id_token, entry.status) for entry in wanted.entries] == [
        ("new", "Accepted"),
        ("back", "Accepted"),
        ("gone", None),
    ]
    assert wanted.entries[-1].id_token_type == "Central"


@pytest.mark.parametrize("version", Version)
def test_a_long_list_goes_in_parts_with_growing_versions(version: Version) -> None:
    entries = whole_list(version, [token(f"card-{number}") for number in range(5)]).entries
    parts = messages(version, entries, full=True, now=NOW, known=7, most=2, most_bytes=None)
    assert [(part.full, part.list_version, len(part.entries)) for part in parts] == [
        (True, SECONDS - 2, 2),
        (False, SECONDS - 1, 2),
        (False, SECONDS, 1),
    ]
    assert tuple(entry for part in parts for entry in part.entries) == entries
    for part in parts:
        assert schemas.validate(version, "SendLocalList", "request", encode_command(version, part)[1]) is None


def test_parts_are_as_short_as_the_charger_wants_them() -> None:
    entries = whole_list(Version.V201, [token(f"card-{number}") for number in range(9)]).entries
    sizes = {}
    for most_bytes in (10, 300, 100_000):
        parts = messages(Version.V201, entries, full=False, now=NOW, known=0, most=100, most_bytes=most_bytes)
        assert not any(part.full for part in parts)
        sizes[most_bytes] = len(parts)
    assert sizes[10] == 9
    assert 1 < sizes[300] < 9
    assert sizes[100_000] == 1


def test_an_empty_list_is_one_message() -> None:
    (part,) = messages(Version.V16, (), full=True, now=NOW, known=0, most=2, most_bytes=None)
    assert (part.full, part.entries) == (True, ())
    assert (
        schemas.validate(Version.V16, "SendLocalList", "request", encode_command(Version.V16, part)[1])
        is None
    )
