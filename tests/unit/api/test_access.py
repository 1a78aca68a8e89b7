"""Accounts, keys and sign-ins, over tables in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, cast

import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from libs.access.principal import Grant, Principal, principal
from libs.access.roles import Role
from libs.bus.tables import OnChange, TableSet
from libs.events.access import AccountDefined, SignedIn
from libs.events.record import Record
from libs.events.topics import ACCESS_ACCOUNTS, ACCESS_SIGN_INS
from libs.runtime.clock import SECOND
from services.api.access.changes import AccessChanges
from services.api.access.hashing import Hashing, must_be_good
from services.api.access.sign_ins import MOST, SignIns
from services.api.access.table import TABLES, Access, digest_of
from services.api.access.tries import Tries
from services.api.domain.errors import Conflict, Forbidden, Invalid, NotFound, SignInRefused, TooMany
from services.api.domain.renewal import Removal
from services.api.http.problems import Unavailable
from services.api.registry.changes import Changes
from services.api.writer import Writer

PASSWORD, WRONG = "correct horse battery", "correct horse batterz"
HOME, AWAY = "203.0.113.7", "198.51.100.9"
ADMIN = principal("api", [Role.PLATFORM_ADMIN])
MINUTE = 60 * SECOND


class Rig:
    """The tables show at once what is written, and changes are made one by one. The clock is moved by hand."""

    def __init__(self, of_both: int = 3) -> None:
        self.now = 1_790_000_000 * SECOND
        self.tables: dict[str, dict[str, Record]] = {topic: {} for topic in TABLES}
        self.callbacks: dict[str, list[OnChange]] = {topic: [] for topic in TABLES}
        hashing = Hashing(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.access = Access(cast(TableSet, self), lambda: self.now)
        self.sign_ins = SignIns(
            self.access,
            cast(Writer, self),
            Tries(of_both),
            hashing,
            lasting_s=3600,
            read_back_s=1,
            clock=lambda: self.now,
        )
        self.changes = AccessChanges(
            self.access, cast(Changes, self), self.sign_ins, hashing, lambda: self.now
        )

    def __getitem__(self, topic: str) -> dict[str, Record]:
        return self.tables[topic]

    def on_change(self, topic: str, callback: OnChange) -> None:
        self.callbacks[topic].append(callback)

    async def write(self, topic: str, key: str, record: Record | None) -> None:
        if record is None:
            self.tables[topic].pop(key, None)
        else:
            self.tables[topic][key] = record
        for callback in self.callbacks[topic]:
            callback(key, record)

    async def make(self, _topic: str, key: str, decide: Callable[[], dict[str, Any]]) -> None:
        for topic, record in decide().items():
            await self.write(topic, key, None if isinstance(record, Removal) else record)

    async def account(self, name: str = "anna", *roles: Role, by: Principal = ADMIN) -> AccountDefined:
        grants = tuple(Grant(role) for role in roles or (Role.OPERATOR,))
        return await self.changes.create_account(by, name, {"grants": grants}, PASSWORD)

    async def sign_in(self, name: str = "anna", password: str = PASSWORD, address: str = HOME) -> str:
        self.now += 1
        return await self.sign_ins.sign_in(name, password, address, "a browser")


async def test_who_signs_in_has_the_accounts_roles_as_they_are_now() -> None:
    rig = Rig()
    await rig.account()
    token = await rig.sign_in(" Anna")
    assert rig.access.principal_of_sign_in(token) == principal("anna", [Role.OPERATOR], rig.now)
    await rig.changes.change_account(ADMIN, "anna", {"grants": (Grant(Role.VIEWER),)})
    assert rig.access.principal_of_sign_in(token) == principal("anna", [Role.VIEWER], rig.now)
    assert rig.access.principal_of_sign_in(token + "x") is None
    (kept,) = rig.tables[ACCESS_SIGN_INS].values()
    assert isinstance(kept, SignedIn)
    assert token not in repr(kept)
    assert (kept.sign_in_id, kept.address, kept.user_agent) == (digest_of(token), HOME, "a browser")


async def test_neither_password_nor_its_hash_is_in_a_log_or_plain_in_the_table() -> None:
    rig = Rig()
    with capture_logs() as lines:
        made = await rig.account()
        await rig.sign_in()
        with pytest.raises(SignInRefused):
            await rig.sign_in(password=WRONG)
        with pytest.raises(SignInRefused):
            await rig.sign_in(PASSWORD, "")
    wrong = [line["account_id"] for line in lines if line["event"] == "wrong_password"]
    assert wrong == ["anna", ""], "a password that was typed as the name is none"
    assert made.password_hash is not None
    assert made.password_hash.startswith("$argon2id$")
    assert PASSWORD not in repr(made)
    for secret in (PASSWORD, WRONG, made.password_hash):
        assert secret not in repr(lines)


async def test_why_a_sign_in_is_refused_is_not_told() -> None:
    rig = Rig()
    await rig.account("anna")
    await rig.account("off")
    await rig.changes.change_account(ADMIN, "off", {"disabled": True})
    await rig.changes.create_account(ADMIN, "without", {})
    told = set()
    for name, password in (("anna", WRONG), ("nobody", PASSWORD), ("off", PASSWORD), ("without", "")):
        with pytest.raises(SignInRefused) as refused:
            await rig.sign_in(name, password)
        told.add(str(refused.value))
    assert len(told) == 1


async def test_an_unknown_account_costs_a_hash_as_a_known_one_does() -> None:
    seen: list[str] = []

    class Hasher(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            seen.append(str(hash).rpartition("$")[0].rpartition("$")[0])
            return super().verify(hash, password)

    hashing = Hashing(Hasher(time_cost=1, memory_cost=8, parallelism=1))
    kept = await hashing.hashed(PASSWORD)
    assert await hashing.fits(PASSWORD, kept)
    assert not await hashing.fits(WRONG, kept)
    assert not await hashing.fits("", None)
    assert not await hashing.fits(PASSWORD, "no hash at all")
    assert len(seen) == 4
    assert len(set(seen[:3])) == 1, "the same algorithm and cost"


async def test_wrong_passwords_of_an_account_from_one_address_are_limited() -> None:
    rig = Rig(of_both=3)
    await rig.account()
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await rig.sign_in(password=WRONG)
    # Nobody looks at the right one either; an account that is not there is no different.
    with pytest.raises(TooMany, match="300 s"):
        await rig.sign_in()
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await rig.sign_in("nobody")
    with pytest.raises(TooMany):
        await rig.sign_in("nobody")
    await rig.sign_in(address=AWAY)
    rig.now += 5 * MINUTE
    await rig.sign_in()


async def test_wrong_passwords_from_one_address_are_limited() -> None:
    rig = Rig(of_both=1)
    await rig.account()
    for number in range(10):
        with pytest.raises(SignInRefused):
            await rig.sign_in(f"guess-{number}")
    with pytest.raises(TooMany):
        await rig.sign_in()


async def test_guessers_elsewhere_do_not_shut_out_who_is_signed_in() -> None:
    rig = Rig(of_both=1)
    await rig.account()
    await rig.sign_in(address=HOME)
    for number in range(10):
        with pytest.raises(SignInRefused):
            await rig.sign_in(password=WRONG, address=f"198.51.100.{number}")
    with pytest.raises(TooMany):
        await rig.sign_in(address=AWAY)
    await rig.sign_in(address=HOME)


async def test_too_many_that_sign_in_at_once_are_told_to_come_later() -> None:
    hashing = Hashing(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    answers = await asyncio.gather(*(hashing.hashed(PASSWORD) for _ in range(60)), return_exceptions=True)
    assert [type(each) for each in answers] == [str] * 50 + [Unavailable] * 10


async def test_a_sign_in_ends_by_time_by_signing_out_and_with_its_account() -> None:
    rig = Rig()
    await rig.account()
    token, other = await rig.sign_in(), await rig.sign_in()
    await rig.sign_ins.sign_out(token)
    await rig.sign_ins.sign_out("no token")
    assert rig.access.principal_of_sign_in(token) is None
    assert rig.access.principal_of_sign_in(other) is not None
    rig.now += 3600 * SECOND
    assert rig.access.principal_of_sign_in(other) is None
    await rig.sign_ins.tidy()
    assert not rig.tables[ACCESS_SIGN_INS]
    last = await rig.sign_in()
    (late,) = rig.tables[ACCESS_SIGN_INS].values()
    rig.now += 1
    await rig.changes.change_account(ADMIN, "anna", {"disabled": True})
    assert not rig.tables[ACCESS_SIGN_INS]
    await rig.changes.change_account(ADMIN, "anna", {"disabled": False})
    # Another process had just made it.
    await rig.write(ACCESS_SIGN_INS, digest_of(last), late)
    assert rig.access.principal_of_sign_in(last) is None
    await rig.changes.remove_account(ADMIN, "anna")
    assert not rig.tables[ACCESS_SIGN_INS]
    assert rig.access.principal_of_sign_in(last) is None


async def test_a_sign_in_may_be_read_before_its_account_and_is_not_ended_for_that() -> None:
    rig = Rig()
    await rig.account()
    token = await rig.sign_in()
    account = rig.tables[ACCESS_ACCOUNTS].pop("anna")
    await rig.sign_ins.tidy()
    rig.tables[ACCESS_ACCOUNTS]["anna"] = account
    assert rig.access.principal_of_sign_in(token) is not None
    del rig.tables[ACCESS_ACCOUNTS]["anna"]
    rig.now += 6 * MINUTE
    await rig.sign_ins.tidy()
    assert not rig.tables[ACCESS_SIGN_INS]


@pytest.mark.parametrize("how", ["sign-out", "password", "again"])
async def test_what_was_made_before_does_not_count_after(how: str) -> None:
    """Also a sign-in that another process is just making."""
    rig = Rig()
    await rig.account()
    token = await rig.sign_in()
    (late,) = rig.tables[ACCESS_SIGN_INS].values()
    rig.now += 1
    if how == "sign-out":
        await rig.changes.sign_out_everywhere(ADMIN, "anna")
    elif how == "password":
        await rig.changes.set_password(ADMIN, "anna", "another good password")
    else:
        await rig.changes.remove_account(ADMIN, "anna")
        await rig.account()
    assert not rig.tables[ACCESS_SIGN_INS]
    await rig.write(ACCESS_SIGN_INS, digest_of(token), late)
    assert rig.access.principal_of_sign_in(token) is None
    password = "another good password" if how == "password" else PASSWORD
    assert rig.access.principal_of_sign_in(await rig.sign_in(password=password)) is not None


async def test_of_an_accounts_sign_ins_the_oldest_ends() -> None:
    rig = Rig()
    await rig.account()
    tokens = [await rig.sign_in() for _ in range(MOST + 2)]
    alive = [rig.access.principal_of_sign_in(token) is not None for token in tokens]
    assert alive == [False] * 2 + [True] * MOST
    assert len(rig.tables[ACCESS_SIGN_INS]) == MOST


async def test_giving_the_password_again_makes_a_sign_in_fresh_and_its_token_new() -> None:
    rig = Rig()
    await rig.account()
    token = await rig.sign_in()
    began = rig.now
    rig.now += 30 * MINUTE
    with pytest.raises(SignInRefused):
        await rig.sign_ins.confirm(token, WRONG, HOME)
    assert rig.access.principal_of_sign_in(token) is not None
    new = await rig.sign_ins.confirm(token, PASSWORD, HOME)
    assert rig.access.principal_of_sign_in(token) is None
    assert rig.access.principal_of_sign_in(new) == principal("anna", [Role.OPERATOR], rig.now)
    with pytest.raises(SignInRefused):
        await rig.sign_ins.confirm(token, PASSWORD, HOME)
    # It is as old as the former one.
    rig.now = began + 3600 * SECOND
    assert rig.access.principal_of_sign_in(new) is None


async def test_a_key_is_known_by_its_secret_until_its_end() -> None:
    rig = Rig()
    entry, key = await rig.changes.make_key(
        ADMIN, "billing", [Grant(Role.VIEWER)], expires_at=rig.now + MINUTE, note="export"
    )
    assert key.startswith(f"vb_{entry.key_id}_")
    assert key.rpartition("_")[2] not in repr(entry)
    known = Principal("billing", (Grant(Role.VIEWER),), key_id=entry.key_id)
    assert rig.access.principal_of_key(key) == known
    for wrong in (key[:-1], key + "x", f"vb_{entry.key_id}_", "vb_", "", "vb_nobody_secret", key.upper()):
        assert rig.access.principal_of_key(wrong) is None, wrong
    rig.now += MINUTE
    assert rig.access.principal_of_key(key) is None
    with pytest.raises(Invalid):
        await rig.changes.make_key(ADMIN, "billing", [Grant(Role.VIEWER)], expires_at=rig.now)


async def test_a_revoked_key_is_none_and_stays_in_the_list() -> None:
    rig = Rig()
    entry, key = await rig.changes.make_key(ADMIN, "billing", [Grant(Role.VIEWER)])
    revoked = await rig.changes.revoke_key(principal("ben", [Role.PLATFORM_ADMIN]), entry.key_id)
    assert (revoked.revoked, revoked.changed_by) == (True, "ben")
    assert rig.access.principal_of_key(key) is None
    assert await rig.changes.revoke_key(ADMIN, entry.key_id) == revoked
    with pytest.raises(NotFound):
        await rig.changes.revoke_key(ADMIN, "none")


async def test_nobody_touches_whom_he_could_not_have_made() -> None:
    """Otherwise he could give a platform-admin a password, and be one."""
    rig = Rig()
    await rig.account("root", Role.PLATFORM_ADMIN)
    _, key = await rig.changes.make_key(ADMIN, "robot", [Grant(Role.PLATFORM_ADMIN)])
    key_id = key.split("_")[1]
    local = Principal("lou", (Grant(Role.TENANT_ADMIN, "org-1"),))
    everywhere = principal("lou", [Role.TENANT_ADMIN])
    for by, refusal in ((local, NotFound), (everywhere, Forbidden)):
        for refused in (
            rig.changes.set_password(by, "root", "a new good password"),
            rig.changes.sign_out_everywhere(by, "root"),
            rig.changes.change_account(by, "root", {"grants": ()}),
            rig.changes.change_account(by, "root", {"disabled": True}),
            rig.changes.remove_account(by, "root"),
            rig.changes.revoke_key(by, key_id),
        ):
            with pytest.raises(refusal):
                await refused
    for refused_new in (
        rig.changes.create_account(local, "new", {"grants": (Grant(Role.OPERATOR),)}),
        rig.changes.create_account(local, "new", {"grants": ()}),
        rig.changes.make_key(local, "robot", [Grant(Role.VIEWER)]),
    ):
        with pytest.raises(Forbidden):
            await refused_new
    assert set(rig.tables[ACCESS_ACCOUNTS]) == {"root"}


async def test_in_an_organisation_one_administers_whose_roles_are_all_there() -> None:
    rig = Rig()
    local = Principal("lou", (Grant(Role.TENANT_ADMIN, "org-1"),))
    for name, grants in (
        ("own", (Grant(Role.VIEWER, "org-1"),)),
        ("both", (Grant(Role.VIEWER, "org-1"), Grant(Role.VIEWER, "org-2"))),
        ("foreign", (Grant(Role.VIEWER, "org-2"),)),
    ):
        await rig.changes.create_account(ADMIN, name, {"grants": grants})
    await rig.changes.change_account(local, "own", {"display_name": "Own"})
    for name in ("both", "foreign", "nobody"):
        with pytest.raises(NotFound, match=f"there is no account '{name}'"):
            await rig.changes.remove_account(local, name)
    # That a name is taken shows, and not by whom.
    for name in ("own", "foreign"):
        with pytest.raises(Conflict, match=f"there is an account '{name}' already"):
            await rig.changes.create_account(local, name, {"grants": (Grant(Role.VIEWER, "org-1"),)})
    made = await rig.changes.create_account(local, "new", {"grants": (Grant(Role.OPERATOR, "org-1"),)})
    with pytest.raises(Forbidden):
        await rig.changes.change_account(local, "new", {"grants": ()})
    assert rig.tables[ACCESS_ACCOUNTS]["new"] == made
    await rig.changes.remove_account(local, "new")


async def test_who_is_signed_in_gives_himself_a_password_and_signs_out_everywhere() -> None:
    rig = Rig()
    await rig.account("vic", Role.VIEWER)
    vic = rig.access.principal_of_sign_in(await rig.sign_in("vic"))
    assert vic is not None
    rig.now += 1
    await rig.changes.set_password(vic, "vic", "another good password")
    await rig.sign_in("vic", "another good password")
    rig.now += 1
    await rig.changes.sign_out_everywhere(vic, "vic")
    assert not rig.tables[ACCESS_SIGN_INS]
    # A key that is called so is somebody else.
    with pytest.raises(NotFound):
        await rig.changes.set_password(principal("vic", [Role.VIEWER]), "vic", "another good password")


async def test_an_account_is_made_once_changed_in_part_and_the_last_admin_stays() -> None:
    rig = Rig()
    made = await rig.account("root", Role.PLATFORM_ADMIN)
    with pytest.raises(Conflict):
        await rig.account("root")
    changed = await rig.changes.change_account(ADMIN, "root", {"display_name": "Root"})
    assert (changed.display_name, changed.password_hash, changed.changed_by) == (
        "Root",
        made.password_hash,
        "api",
    )
    assert await rig.changes.change_account(ADMIN, "root", {"display_name": "Root"}) is changed
    for change in ({"disabled": True}, {"grants": ()}):
        with pytest.raises(Conflict, match="last account"):
            await rig.changes.change_account(ADMIN, "root", change)
    with pytest.raises(Conflict, match="last account"):
        await rig.changes.remove_account(ADMIN, "root")
    with pytest.raises(NotFound):
        await rig.changes.change_account(ADMIN, "nobody", {})


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("short-pass1", False),
        ("twelve chars", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("anna@example.org", False),
        ("ANNA@example.org", False),
        ("Anna Example-Name", False),
        ("annas example.org", True),
    ],
)
def test_what_a_password_may_be(password: str, good: bool) -> None:
    if good:
        must_be_good(password, "anna@example.org", "Anna Example-Name", "/password")
        return
    with pytest.raises(Invalid) as refused:
        must_be_good(password, "anna@example.org", "Anna Example-Name", "/password")
    assert refused.value.path == "/password"
    assert password not in refused.value.detail


async def test_a_password_is_the_same_however_a_keyboard_composes_its_letters() -> None:
    rig = Rig()
    await rig.changes.create_account(ADMIN, "zoe", {}, "Zo\u00eb M\u00fcller 2026")
    await rig.sign_in("zoe", "Zoe\u0308 Mu\u0308ller 2026")
