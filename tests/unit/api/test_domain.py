"""What requests mean for the records."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import services.api
from libs.events.commands import CommandDialect, RequestCommand
from libs.events.record import UNWRITTEN
from libs.events.registry import (
    Assignment,
    PowerRating,
    StationRegistered,
    TariffRegistered,
    TariffVersion,
    TokenRegistered,
)
from libs.events.tariffs import flat_terms
from libs.ocpp.semantics.commands import Reset, SetVariables, VariableValue
from libs.ocpp.semantics.dialect import from_fields, to_fields
from libs.ocpp.versions import Version, station_identity
from libs.security.sealing import Sealer
from services.api.domain.cursors import LAST, cursor_of, position_at
from services.api.domain.dated import in_force, power_in_force, version_in_force
from services.api.domain.errors import Conflict, Invalid
from services.api.domain.renewal import (
    Stamp,
    assign,
    joined,
    ordered,
    priced_from,
    rated,
    renewed,
    reprice,
)
from services.api.domain.token_ids import token_identity
from services.api.domain.wish import (
    Wish,
    ocpp_wish,
    repeatable_id,
    request_command,
    spoken_version,
    version_free_wish,
    version_named,
    wish_digest,
)

NOW = 1_000_000_000
STAMP = Stamp("00000000-0000-0000-0000-000000000001", NOW, 5_000_000)


def at(target: str, moment: int) -> Assignment:
    return Assignment(id=target, valid_from=moment)


# --- identity


@pytest.mark.parametrize(
    ("text", "identity"), [("CP-1", "cp-1"), ("STRASSE 7", "strasse 7"), ("a?b#c%", "a?b#c%")]
)
def test_a_station_is_known_as_the_edge_knows_it(text: str, identity: str) -> None:
    assert station_identity(text) == identity


@pytest.mark.parametrize("text", ["", "a/b", ".", "..", "a:b", "a\nb", " a", "a ", "x" * 49, "a\x00"])
def test_what_no_charger_connects_as_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a station identity"):
        station_identity(text)


@pytest.mark.parametrize("text", ["", "x" * 256, "a\x1b[31m", "a\u202eb", " a"])
def test_an_unprintable_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an id token"):
        token_identity(text)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
def test_a_token_s_identity_is_that_of_its_identity(text: str) -> None:
    assert token_identity(token_identity(text)) == token_identity(text)


# --- assignments


@pytest.mark.parametrize("version", Version)
def test_the_version_of_a_connection_is_known_or_a_conflict(version: Version) -> None:
    assert spoken_version(str(version)) is version
    with pytest.raises(
        Conflict, match=r"speaks 'ocpp9\.0', which this release of the platform does not know"
    ):
        spoken_version("ocpp9.0")


def test_the_first_assignment_holds_once_everybody_knows() -> None:
    assert assign((), "s1", None, STAMP) == (at("s1", NOW + 5_000_000),)
    assert assign((), "s1", 7, STAMP) == (at("s1", 7),)


def test_assigning_appends_and_never_rewrites() -> None:
    old = (at("s1", 1),)
    new = assign(old, "s2", None, STAMP)
    assert new == (*old, at("s2", NOW + 5_000_000))
    assert assign(new, "s2", None, STAMP) == new
    assert assign(new, "s3", 50, STAMP) == (at("s1", 1), at("s3", 50), at("s2", NOW + 5_000_000))
    assert assign(new, "s1", 1, STAMP) == new
    with pytest.raises(Conflict):
        assign(new, "s9", 1, STAMP)


def test_a_rewritten_list_is_put_in_order() -> None:
    assert ordered((at("b", 2), at("a", 1))) == (at("a", 1), at("b", 2))
    with pytest.raises(Conflict):
        ordered((at("b", 2), at("a", 2)))


def test_a_tariff_is_not_assigned_for_a_time_before_its_first_version() -> None:
    versions = (*reprice((), "EUR", 100, 10, STAMP), *reprice((), "EUR", 200, 20, STAMP))
    tariff = TariffRegistered(**UNWRITTEN, tariff_id="day", versions=versions)
    priced_from(at("day", 10), tariff, "/tariff_valid_from")
    with pytest.raises(Conflict, match=r"begins at 1970-01-01T00:00:00\.000010\+00:00") as refused:
        priced_from(at("day", 9), tariff, "/tariff_valid_from")
    assert refused.value.path == "/tariff_valid_from"


def test_in_force_is_the_last_that_has_begun() -> None:
    assigned = (at("a", 1), at("b", 10), at("c", 100))
    assert [in_force(assigned, moment) for moment in (0, 1, 99, 100)] == [None, "a", "b", "c"]


def test_a_connector_s_power_is_rated_from_now_on_and_never_rewritten() -> None:
    first = rated((), 22_000, STAMP)
    assert first == (PowerRating(power_w=22_000, valid_from=NOW + 5_000_000),)
    assert rated(first, None, STAMP) is first
    assert rated(first, 22_000, STAMP) is first
    early = (PowerRating(power_w=11_000, valid_from=1),)
    both = rated(early, 22_000, STAMP)
    assert [power_in_force(both, moment) for moment in (0, 1, NOW, NOW + 5_000_000)] == [
        None,
        11_000,
        11_000,
        22_000,
    ]


# --- tariffs


def version(number: int, moment: int, price: int) -> TariffVersion:
    return TariffVersion(version=number, valid_from=moment, currency="EUR", price_per_kwh_milli=price)


def test_a_price_makes_a_version_and_the_same_price_none() -> None:
    first = reprice((), "EUR", 100, 1, STAMP)
    assert first == (version(1, 1, 100),)
    assert reprice(first, "EUR", 100, None, STAMP) is first
    assert reprice(first, "EUR", 100, 1, STAMP) is first
    second = reprice(first, "EUR", 200, None, STAMP)
    assert second == (*first, version(2, NOW + 5_000_000, 200))
    assert version_in_force(second, NOW) == 1
    for moment in (None, 1, NOW):
        with pytest.raises(Conflict):
            reprice(second, "EUR", 300, moment, STAMP)


def test_other_terms_make_a_version_and_the_same_terms_none() -> None:
    first = reprice((), "EUR", 100, 1, STAMP)
    second = reprice(first, "EUR", 100, 2, STAMP, terms=flat_terms(100))
    assert second == (*first, replace(version(2, 2, 100), terms=flat_terms(100)))
    assert reprice(second, "EUR", 100, None, STAMP, terms=flat_terms(100)) is second
    assert reprice(second, "EUR", 100, None, STAMP)[-1].terms is None


# --- records


def test_only_a_difference_makes_a_new_record() -> None:
    blank = StationRegistered(event_id="", occurred_at=0, recorded_at=0, cause_id="", station_id="a")
    written = renewed(blank, {}, STAMP)
    assert (written.event_id, written.recorded_at, written.cause_id) == (STAMP.event_id, NOW, STAMP.event_id)
    assert renewed(written, {"name": ""}, STAMP) is written
    assert renewed(written, {"name": "x"}, Stamp("other", NOW + 1, 0)).event_id == "other"


def test_a_token_s_groups_are_kept_by_time() -> None:
    new = TokenRegistered(event_id="", occurred_at=0, recorded_at=0, cause_id="", id_token="card")
    assert joined(new, None, STAMP) == ()
    (first,) = joined(new, "fleet", STAMP)
    assert (first.group_id, first.valid_from) == ("fleet", NOW + STAMP.settle)
    # One that was written before its groups were kept belonged to its group all the time.
    old = replace(new, event_id="e", group_id="fleet")
    left = joined(old, None, STAMP)
    assert [(each.group_id, each.valid_from) for each in left] == [("fleet", 0), (None, NOW + STAMP.settle)]
    assert joined(replace(old, group_id=None, groups=left), None, STAMP) is left


# --- commands


def test_an_action_is_checked_against_the_version_s_schema() -> None:
    wish = ocpp_wish(Version.V16, "Reset", {"type": "Soft"})
    assert (wish.action, wish.payload, wish.dialect) == ("Reset", {"type": "Soft"}, CommandDialect.OCPP)
    with pytest.raises(Invalid) as refused:
        ocpp_wish(Version.V201, "Reset", {"type": "Soft"})
    assert refused.value.path == "/payload/type"
    with pytest.raises(Invalid, match="RemoteStartTransaction") as refused:
        ocpp_wish(Version.V16, "RemoteStart", {})
    assert refused.value.path == "/action"
    with pytest.raises(Invalid, match="by chargers"):
        ocpp_wish(Version.V16, "StartTransaction", {})


def test_a_version_free_command_is_completed_and_checked() -> None:
    wish = version_free_wish(Version.V201, "Reset", {"kind": "hard"})
    assert wish.dialect is CommandDialect.VOLTBUS
    assert from_fields(wish.action, wish.payload) == Reset("hard")
    for payload, path in (({"kind": 1}, "/payload/kind"), ({}, "/payload")):
        with pytest.raises(Invalid) as refused:
            version_free_wish(None, "Reset", payload)
        assert refused.value.path == path
    with pytest.raises(Invalid, match="number"):
        version_free_wish(Version.V16, "RemoteStop", {"transaction_id": "x"})
    version_free_wish(None, "RemoteStop", {"transaction_id": "x"})
    # 1.6 allows 20 characters.
    start = {"evse_id": 1, "id_token": "x" * 21, "remote_start_id": 1}
    with pytest.raises(Invalid):
        version_free_wish(Version.V16, "RemoteStart", start)
    version_free_wish(Version.V201, "RemoteStart", start)


def asked_for(wish: Wish, sealer: Sealer | None) -> RequestCommand:
    return request_command(
        "cp-1", wish, "c-1", sealer=sealer, requested_by="anna", now=NOW, ttl_us=5, call_timeout_ms=1000
    )


def test_a_command_is_written_as_it_was_checked() -> None:
    wish = ocpp_wish(Version.V16, "ChangeConfiguration", {"key": "Ort", "value": "Köln"})
    record = asked_for(wish, None)
    assert (record.action, record.payload) == (wish.action, '{"key":"Ort","value":"Köln"}')
    assert (record.event_id, record.cause_id, record.expires_at) == ("c-1", "c-1", NOW + 5)


PASSWORD = "a password of some length"
PASSWORDS = [
    ocpp_wish(Version.V16, "ChangeConfiguration", {"key": "AuthorizationKey", "value": PASSWORD}),
    version_free_wish(
        Version.V201,
        "SetVariables",
        {"values": [{"name": "SecurityCtrlr.BasicAuthPassword", "value": PASSWORD}]},
    ),
    Wish(
        *to_fields(SetVariables((VariableValue("SecurityCtrlr.BasicAuthPassword", PASSWORD),))),
        CommandDialect.VOLTBUS,
    ),
]


@pytest.mark.parametrize("wish", PASSWORDS, ids=["OCPP", "version-free", "made here"])
def test_passwords_are_sealed_in_what_is_written(wish: Wish) -> None:
    with pytest.raises(Conflict, match="VOLTBUS_SECRETS_KEY"):
        asked_for(wish, None)
    sealer = Sealer("a key of sixteen letters")
    payload = asked_for(wish, sealer).payload
    assert PASSWORD not in payload
    assert sealer.seal(PASSWORD, "cp-1") in payload
    # What was sealed before, as by whoever repeats a command, stays as it is.
    assert asked_for(Wish(wish.action, json.loads(payload), wish.dialect), None).payload == payload


def test_an_idempotency_key_belongs_to_its_scope() -> None:
    assert repeatable_id("command:a", "k") == repeatable_id("command:a", "k")
    assert len({repeatable_id(scope, key) for scope in "ab" for key in "kl"}) == 4


def test_wishes_are_the_same_whatever_the_order_of_their_fields_and_their_passwords() -> None:
    def digest(action: str, payload: dict[str, Any]) -> str:
        return wish_digest(ocpp_wish(Version.V16, action, payload))

    unlock = digest("UnlockConnector", {"connectorId": 1})
    assert unlock == digest("UnlockConnector", {"connectorId": 1})
    assert unlock != digest("UnlockConnector", {"connectorId": 2})
    key = {"key": "AuthorizationKey", "value": "41" * 20}
    assert digest("ChangeConfiguration", key) == digest("ChangeConfiguration", dict(reversed(key.items())))
    assert digest("ChangeConfiguration", key) == digest("ChangeConfiguration", key | {"value": "42" * 20})
    other = {"key": "HeartbeatInterval", "value": "1"}
    assert digest("ChangeConfiguration", other) != digest("ChangeConfiguration", other | {"value": "2"})


@pytest.mark.parametrize("name", ["1.6", "ocpp1.6"])
def test_versions_have_a_short_name(name: str) -> None:
    assert version_named(name) is Version.V16


# --- pages


def test_a_cursor_is_opaque_and_checked() -> None:
    assert position_at(cursor_of((1, "ä/?")), int, str) == (1, "ä/?")
    for text in ("", "!", "e30", cursor_of(("a",)), cursor_of((True,))):
        with pytest.raises(Invalid):
            position_at(text, int)


def test_a_cursor_that_nobody_was_given_is_refused() -> None:
    """One with a number that no store has a word for, too: it would be the store's error."""
    given = cursor_of((1, "x"))
    for text in (
        cursor_of((10**28, "x")),
        cursor_of((-1, "x")),
        cursor_of((2**63, "x")),
        cursor_of((LAST + 1, "x")),
        b64encode(b'[ 1, "x"]').decode(),
        b64encode(b'["\\ud800"]').decode(),
        b64encode(b"[" * 1500).decode(),
        given + "=",
        given + "AA",
        "\u0661",
    ):
        with pytest.raises(Invalid) as refused:
            position_at(text, int, str)
        assert refused.value.path == "cursor"
    assert position_at(cursor_of((LAST, "x")), int, str) == (LAST, "x")


def test_commands_are_made_in_one_place_which_seals_their_passwords() -> None:
    api = Path(services.api.__file__).parent
    makers = {
        path.relative_to(api).as_posix()
        for path in api.rglob("*.py")
        if "RequestCommand(" in path.read_text()
    }
    assert makers == {"domain/wish.py"}
