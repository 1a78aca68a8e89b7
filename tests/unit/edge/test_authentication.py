"""A station is believed for what it proves, and every doubt looks the same from outside."""

from __future__ import annotations

from base64 import b64encode
from itertools import product
from typing import Any

import pytest
from pydantic import SecretStr

from libs.events.registry import CredentialsRegistered, PasswordDigest, StationRegistered
from libs.ocpp.passwords import password_digest, readings
from services.edge.app import rules_of
from services.edge.domain import authentication
from services.edge.domain.admission import Admission, Refusal, RefusalReason, admit
from services.edge.domain.authentication import (
    Certificate,
    Doubt,
    Proof,
    Shown,
    authenticate,
    basic_of,
    outdated,
)
from services.edge.domain.rules import ReadModels, Rules, Standing, UnknownStations
from services.edge.settings import EdgeSettings

TEXT = b"correct horse battery"
BINARY = bytes(range(200, 220))
SALT = "5f1d0c7a9b3e48d2a6c4e8f00b1d2c3a"
STAMP: dict[str, Any] = {"event_id": "e", "occurred_at": 1, "recorded_at": 1, "cause_id": "e"}


def kept(password: bytes, salt: str = SALT) -> PasswordDigest:
    return PasswordDigest(salt=salt, digest=password_digest(salt, password))


def credentials(*passwords: bytes) -> CredentialsRegistered:
    return CredentialsRegistered(**STAMP, station_id="cp1", passwords=tuple(map(kept, passwords)))


def standing(profile: int = 1, name: str | None = None) -> Standing:
    registered = StationRegistered(**STAMP, station_id="cp1", security_profile=profile, certificate_name=name)
    found = ReadModels({"cp1": registered}, {}, Rules(transaction_key=b"k" * 16)).standing("cp1")
    assert found is not None
    return found


def basic(password: bytes, user: str = "CP1") -> str:
    return "Basic " + b64encode(user.encode() + b":" + password).decode()


def certificate(*names: str, organisation: str = "Voltbus") -> Certificate:
    return Certificate(names, (organisation,), b"issuer", 1)


def judged(shown: Shown, profile: int = 1, *passwords: bytes, name: str | None = None) -> Proof | Doubt:
    return authenticate("cp1", standing(profile, name), credentials(*passwords), shown, "Voltbus")


@pytest.mark.parametrize("password", [TEXT, BINARY])
def test_the_bytes_and_their_hex_digits_both_verify(password: bytes) -> None:
    for sent in (password, password.hex().encode(), password.hex().upper().encode()):
        proof = judged(Shown(authorization=(basic(sent),)), 1, password)
        assert isinstance(proof, Proof)
        assert (proof.profile, proof.password) == (1, kept(password))


def test_two_passwords_are_good_while_a_change_is_under_way() -> None:
    for sent in (TEXT, BINARY):
        proof = judged(Shown(authorization=(basic(sent),)), 1, TEXT, BINARY)
        assert isinstance(proof, Proof)
        assert proof.password == kept(sent)


@pytest.mark.parametrize(
    ("shown", "profile"),
    [
        (Shown(), 0),
        (Shown(encrypted=True), 0),
        (Shown(authorization=(" ",)), 0),
        (Shown(authorization=(basic(TEXT),)), 1),
        (Shown(True, (basic(TEXT),)), 2),
        (Shown(True, (), certificate("CP1")), 3),
        (Shown(True, (basic(TEXT),), certificate("cp1")), 3),
    ],
)
def test_a_connection_has_the_profile_that_it_proved_and_needs_the_stations(
    shown: Shown, profile: int
) -> None:
    for needed in range(4):
        proof = judged(shown, needed, TEXT)
        assert (proof.profile if isinstance(proof, Proof) else proof) == (
            profile if profile >= needed else Doubt.LOW_PROFILE if profile else Doubt.MISSING_PASSWORD
        )


@pytest.mark.parametrize(
    ("shown", "doubt"),
    [
        (Shown(authorization=(basic(b"wrong password !"),)), Doubt.WRONG_PASSWORD),
        (Shown(authorization=(basic(b""),)), Doubt.WRONG_PASSWORD),
        (Shown(authorization=(basic(TEXT + b" "),)), Doubt.WRONG_PASSWORD),
        (Shown(authorization=(basic(TEXT, "cp2"),)), Doubt.WRONG_USER),
        (Shown(authorization=(basic(TEXT, ""),)), Doubt.WRONG_USER),
        (Shown(authorization=(basic(TEXT), basic(TEXT))), Doubt.WRONG_USER),
        (Shown(authorization=("Bearer x",)), Doubt.WRONG_USER),
        (Shown(authorization=("Basic !",)), Doubt.WRONG_USER),
        (Shown(authorization=("Basic " + b64encode(b"\xff:x").decode(),)), Doubt.WRONG_USER),
        (Shown(authorization=("Basic \xff",)), Doubt.WRONG_USER),
        (Shown(True, (basic(TEXT),), certificate("cp2")), Doubt.WRONG_CERTIFICATE),
        (Shown(True, (), certificate("cp1", "cp2")), Doubt.WRONG_CERTIFICATE),
        (Shown(True, (), certificate()), Doubt.WRONG_CERTIFICATE),
        (Shown(True, (), certificate("cp1", organisation="Other")), Doubt.WRONG_CERTIFICATE),
        (
            Shown(True, (), certificate("cp1"), Doubt.REVOKED_CERTIFICATE),
            Doubt.REVOKED_CERTIFICATE,
        ),
        (Shown(True, (basic(b"wrong password !"),), certificate("cp1")), Doubt.WRONG_PASSWORD),
    ],
)
def test_what_is_shown_must_be_right_whatever_profile_is_needed(shown: Shown, doubt: Doubt) -> None:
    for needed in range(4):
        assert judged(shown, needed, TEXT) is doubt


def test_without_a_registered_password_one_proves_nothing() -> None:
    shown = Shown(authorization=(basic(TEXT),))
    assert judged(shown, 0) == Proof()
    assert judged(shown, 1) is Doubt.WRONG_PASSWORD
    assert judged(Shown(True, (basic(TEXT),), certificate("cp1")), 3) == Proof(3, None, certificate("cp1"))


def test_the_certificate_may_bear_another_name_that_is_registered() -> None:
    shown = Shown(True, (), certificate("SN-77"))
    assert isinstance(judged(shown, 3, name="sn-77"), Proof)
    assert judged(Shown(True, (), certificate("cp1")), 3, name="sn-77") is Doubt.WRONG_CERTIFICATE


def test_a_credential_record_that_is_broken_admits_nobody_and_harms_nobody() -> None:
    broken = CredentialsRegistered(
        **STAMP, station_id="cp1", passwords=(PasswordDigest(salt="zz", digest="x"), kept(TEXT))
    )
    assert isinstance(authenticate("cp1", standing(), broken, Shown(authorization=(basic(TEXT),))), Proof)
    assert authenticate("cp1", standing(), broken, Shown(authorization=(basic(BINARY),))) is (
        Doubt.WRONG_PASSWORD
    )


def test_base64_without_its_padding_is_read() -> None:
    found = basic_of((basic(b"x" * 17).rstrip("="),))
    assert found is not None
    assert (found.user, found.password) == ("cp1", b"x" * 17)


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the passwords that were hashed."""
    hashed: list[int] = []

    def counting(salt: str, password: bytes) -> str:
        hashed.append(len(password))
        return password_digest(salt, password)

    monkeypatch.setattr(authentication, "password_digest", counting)
    return hashed


def test_every_refusal_is_the_same_amount_of_work(digests: list[int]) -> None:
    known: list[tuple[Standing | None, CredentialsRegistered | None]] = [
        (None, None),
        (standing(), None),
        (standing(), credentials(TEXT)),
        (standing(), credentials(TEXT, BINARY)),
        (standing(3), credentials(TEXT)),
    ]
    shown = [(), (basic(b"wrong password !"),), (basic(TEXT, "cp2"),), ("rubbish",)]
    work = set()
    for (stands, has), headers in product(known, shown):
        digests.clear()
        assert isinstance(authenticate("cp1", stands, has, Shown(authorization=headers)), Doubt)
        work.add(len(digests))
    assert work == {4}
    assert len(readings(b"ab")) == len(readings(b"xy")) == 2


def test_refusals_are_uniform_and_remember_that_nobody_was_believed() -> None:
    registered = StationRegistered(**STAMP, station_id="cp1", security_profile=2, allow_no_subprotocol=True)
    rules = Rules(transaction_key=b"k" * 16, unknown_stations=UnknownStations.REJECT)
    models = ReadModels({"cp1": registered}, {}, rules, {}, {"cp1": credentials(TEXT)})
    for path, shown in product(
        ["/ocpp/cp1", "/ocpp/stranger"],
        [Shown(), Shown(authorization=(basic(TEXT),)), Shown(authorization=(basic(BINARY),))],
    ):
        refusal = admit(path, ["ocpp1.6"], models, None, shown)
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.believed) == (401, False)
        # A missing subprotocol must not become a way to try passwords, or to learn where it may be missing.
        refusal = admit(path, [], models, None, shown)
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.reason, refusal.believed) == (
            400,
            RefusalReason.NO_SUBPROTOCOL,
            False,
        )
    admitted = admit("/ocpp/cp1", [], models, None, Shown(True, (basic(TEXT),)))
    assert isinstance(admitted, Admission)
    assert admitted.proof.profile == 2


def test_the_least_profile_binds_stations_that_nobody_registered() -> None:
    rules = Rules(transaction_key=b"k" * 16, unknown_stations=UnknownStations.ACCEPT, least_profile=1)
    refusal = admit("/ocpp/new", ["ocpp1.6"], ReadModels({}, {}, rules), None, Shown())
    assert isinstance(refusal, Refusal)
    assert refusal.status == 401
    registered = StationRegistered(**STAMP, station_id="cp1")
    found = ReadModels({"cp1": registered}, {}, rules).standing("cp1")
    assert found is not None
    assert found.security_profile == 1


@pytest.mark.parametrize(
    ("least", "registered", "exempt", "needed"),
    [
        (1, 0, False, 1),
        (1, 0, True, 0),
        (1, 2, False, 2),
        (2, 1, True, 1),
        (2, 3, True, 3),
        (0, 0, False, 0),
    ],
)
def test_below_the_platforms_least_profile_is_only_who_was_exempted_by_name(
    least: int, registered: int, exempt: bool, needed: int
) -> None:
    entry = StationRegistered(**STAMP, station_id="cp1", security_profile=registered, profile_exempt=exempt)
    rules = Rules(transaction_key=b"k" * 16, least_profile=least)
    found = ReadModels({"cp1": entry}, {}, rules).standing("cp1")
    assert found is not None
    assert found.security_profile == needed


def test_by_default_a_stranger_who_knows_an_id_is_not_that_station() -> None:
    """Neither a registered one that nobody gave a profile, nor one that is let in unregistered."""
    for unknown in UnknownStations:
        rules = rules_of(
            EdgeSettings(transaction_key=SecretStr("only for this test"), unknown_stations=unknown)
        )
        entry = StationRegistered(**STAMP, station_id="cp1")
        for path in ("/ocpp/cp1", "/ocpp/another"):
            refusal = admit(path, ["ocpp1.6"], ReadModels({"cp1": entry}, {}, rules), None, Shown())
            assert isinstance(refusal, Refusal)
            assert refusal.status == 401


def test_a_connection_ends_when_what_it_was_believed_for_does_not_hold_any_more() -> None:
    by_password = Proof(1, kept(TEXT))
    by_certificate = Proof(3, None, certificate("cp1"))
    assert outdated("cp1", None, None, Proof()) == "not registered"
    assert outdated("cp1", standing(0), None, Proof()) is None
    assert outdated("cp1", standing(0), credentials(TEXT), Proof()) is None
    assert outdated("cp1", standing(1), credentials(TEXT), Proof()) == "security profile raised"
    assert outdated("cp1", standing(1), credentials(BINARY, TEXT), by_password) is None
    assert outdated("cp1", standing(2), credentials(TEXT), by_password) == "security profile raised"
    for gone in (None, credentials(), credentials(BINARY)):
        assert outdated("cp1", standing(0), gone, by_password) == "password withdrawn"
    assert outdated("cp1", standing(3), None, by_certificate) is None
    assert outdated("cp1", standing(3, "sn"), None, by_certificate) == "certificate name changed"
