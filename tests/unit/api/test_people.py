"""Whose account somebody from the OpenID provider gets, and the settings that say so."""

from __future__ import annotations

from typing import Any

import pytest

from libs.access.principal import Grant, Principal, principal
from libs.access.roles import Role
from services.api.domain.errors import Conflict, Forbidden, IdentityRefused, SignInRefused
from services.api.oidc.people import People, joined, missing, person_of
from services.api.oidc.settings import OidcSettings
from services.api.settings import OperatorSettings
from tests.unit.api.test_access import ADMIN, PASSWORD, Rig

ISSUER = "https://login.example.org"


def settings(**changes: Any) -> OidcSettings:
    return OidcSettings.model_validate({"oidc_issuer": ISSUER, **changes})


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "subject-1", "email": "anna@example.org", "email_verified": True} | changes


def people(rig: Rig) -> People:
    return People(rig.access, rig.changes)


async def reason(rig: Rig, found: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(IdentityRefused) as refused:
        await people(rig).account_of(person_of(found, settings(**changes)))
    return refused.value.reason


def test_groups_have_the_roles_of_the_settings() -> None:
    roles = settings(oidc_grants=" ops=operator, ops=engineer,cn=x=tenant-admin@org-1,").oidc_roles
    assert roles == {
        "ops": (Grant(Role.OPERATOR), Grant(Role.ENGINEER)),
        "cn=x": (Grant(Role.TENANT_ADMIN, "org-1"),),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_grants": "ops"},
        {"oidc_grants": "ops=chief"},
        {"oidc_grants": "=viewer"},
        {"oidc_grants": "leads=tenant-admin@"},
        {"oidc_grants": "leads=tenant-admin@Org 1"},
        {"oidc_grants": "leads=tenant-admin@org-1@org-2"},
        {"oidc_networks": "here"},
        {"oidc_scopes": "profile"},
        {"oidc_client_id": "same", "oidc_cli_client_id": "same"},
    ],
)
def test_settings_that_do_not_fit_are_told_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + "|oidc_cli_client_id|appear to be"):
        settings(**wrong)


def test_a_provider_needs_a_key_that_seals() -> None:
    with pytest.raises(ValueError, match="secrets_key"):
        OperatorSettings.model_validate({"oidc_issuer": ISSUER})
    assert OperatorSettings.model_validate({"oidc_issuer": ISSUER, "secrets_key": "0123456789abcdef"})


@pytest.mark.parametrize(
    ("found", "account_id"),
    [
        ({}, "anna@example.org"),
        ({"email": "Anna@Example.ORG"}, "anna@example.org"),
        ({"email_verified": False}, ""),
        ({"email_verified": 1}, ""),
        ({"email": "an na@example.org"}, ""),
        ({"email": "../admin"}, ""),
        ({"email": "api"}, ""),
        ({"email": "oidc"}, ""),
        ({"email": 7}, ""),
        ({"email": "x" * 65}, ""),
    ],
)
def test_the_name_of_an_account_is_one_that_it_can_have(found: dict[str, Any], account_id: str) -> None:
    assert person_of(claims(**found), settings()).account_id == account_id


def test_another_claim_can_name_the_account_and_groups_can_be_one_text() -> None:
    chosen = settings(oidc_account_claim="upn", oidc_groups_claim="roles", oidc_grants="ops=operator")
    assert missing(claims(), chosen)
    found = claims(upn="anna", roles="ops", email_verified=False)
    assert not missing(found, chosen)
    person = person_of(found, chosen)
    assert (person.account_id, person.grants) == ("anna", (Grant(Role.OPERATOR),))
    assert missing(claims(upn="anna"), chosen), "the groups may be elsewhere"


def test_whether_an_address_is_verified_is_asked_for_and_counts_only_of_that_address() -> None:
    said = {name: value for name, value in claims().items() if name != "email_verified"}
    assert missing(said, settings())
    assert not missing(said | {"upn": "anna"}, settings(oidc_account_claim="upn"))

    def named(more: dict[str, Any], of: dict[str, Any] = said) -> str:
        return person_of(joined(of, more), settings()).account_id

    assert named({"email": "anna@example.org", "email_verified": True}) == "anna@example.org"
    assert named({"email": "other@example.org", "email_verified": True}) == ""
    assert named({"email_verified": True}) == ""
    assert named({}) == ""
    assert named({"email": "anna@example.org", "email_verified": True}, claims(email_verified=False)) == ""


async def test_where_sub_differs_by_client_another_claim_knows_a_person() -> None:
    rig = Rig()
    await rig.changes.create_account(ADMIN, "anna@example.org", {})
    chosen = settings(oidc_subject_claim="oid")
    for sub in ("of the console", "of the command line"):
        found = person_of(claims(sub=sub, oid="object-1"), chosen)
        assert await people(rig).account_of(found) == "anna@example.org"
    assert missing(claims(), chosen)
    for oid in (None, "", 7, "x" * 256):
        with pytest.raises(IdentityRefused, match="token"):
            person_of(claims(oid=oid), chosen)


async def test_an_account_is_linked_once_and_for_good() -> None:
    rig = Rig()
    await rig.changes.create_account(ADMIN, "anna@example.org", {"grants": (Grant(Role.VIEWER),)})
    assert await people(rig).account_of(person_of(claims(), settings())) == "anna@example.org"
    again = person_of(claims(email="other@example.org"), settings())
    assert await people(rig).account_of(again) == "anna@example.org"
    assert await reason(rig, claims(sub="another")) == "account"
    assert await reason(rig, claims(), oidc_issuer="https://elsewhere.example.org") == "account"
    # Roles that who administers access gave stay.
    assert [each.role for each in rig.access.accounts["anna@example.org"].grants] == ["viewer"]


async def test_who_can_choose_a_name_at_the_provider_gets_no_local_account() -> None:
    rig = Rig()
    await rig.account("anna@example.org", Role.PLATFORM_ADMIN)
    assert await reason(rig, claims()) == "account"
    grants = {"oidc_grants": "ops=viewer"}
    assert await reason(rig, claims(groups=["ops"]), **grants) == "account"
    link = {"issuer": ISSUER, "subject": "subject-1"}
    await rig.changes.change_account(ADMIN, "anna@example.org", link)
    assert await people(rig).account_of(person_of(claims(), settings())) == "anna@example.org"
    assert await reason(rig, claims(groups=["ops"]), **grants) == "account", "others may know the password"
    await rig.account("ben")
    with pytest.raises(Conflict, match="linked"):
        await rig.changes.change_account(ADMIN, "ben", link)


async def test_nobody_gets_the_roles_of_a_person_whom_he_links_with_an_account_of_his() -> None:
    rig = Rig()
    local = Principal("lou", (Grant(Role.TENANT_ADMIN, "org-1"),))
    grants, link = (Grant(Role.VIEWER, "org-1"),), {"issuer": ISSUER, "subject": "subject-1"}
    await rig.changes.create_account(local, "new", {"grants": grants}, PASSWORD)
    for refused in (
        rig.changes.change_account(local, "new", link),
        rig.changes.create_account(local, "other", {"grants": grants, **link}),
    ):
        with pytest.raises(Forbidden, match="in all organisations"):
            await refused
    token = await rig.sign_in("new")
    rig.now += 1
    await rig.changes.change_account(ADMIN, "new", link)
    assert rig.access.principal_of_sign_in(token) is None
    with pytest.raises(Forbidden):
        await rig.changes.change_account(local, "new", {"issuer": "", "subject": ""})
    groups = {"oidc_grants": "admins=platform-admin"}
    assert await reason(rig, claims(groups=["admins"]), **groups) == "account"
    assert [each.role for each in rig.access.accounts["new"].grants] == ["viewer"]


async def test_groups_make_accounts_and_are_all_that_counts() -> None:
    rig = Rig()
    chosen = {"oidc_grants": "ops=operator,leads=tenant-admin"}
    assert await reason(rig, claims(groups=["staff"]), **chosen) == "groups"
    assert not rig.access.accounts
    person = person_of(claims(groups=["ops", "staff", 7], name="Anna"), settings(**chosen))
    assert await people(rig).account_of(person) == "anna@example.org"
    made = rig.access.accounts["anna@example.org"]
    assert (made.display_name, made.changed_by, made.password_hash) == ("Anna", "oidc", None)
    before = made.event_id
    await people(rig).account_of(person)
    assert rig.access.accounts["anna@example.org"].event_id == before, "nothing changed, nothing is written"
    await people(rig).account_of(person_of(claims(groups=["leads"]), settings(**chosen)))
    assert [each.role for each in rig.access.accounts["anna@example.org"].grants] == ["tenant-admin"]
    assert await reason(rig, claims(groups=[]), **chosen) == "groups"
    assert rig.access.accounts["anna@example.org"].grants == ()


async def test_the_last_admin_is_not_undone_by_a_group() -> None:
    rig = Rig()
    chosen = {"oidc_grants": "ops=viewer,admins=platform-admin"}
    await people(rig).account_of(person_of(claims(groups=["admins"]), settings(**chosen)))
    with pytest.raises(Conflict, match="last account"):
        await people(rig).account_of(person_of(claims(groups=["ops"]), settings(**chosen)))


async def test_a_sign_in_of_the_command_line_is_a_key_until_it_ends() -> None:
    rig = Rig()
    await rig.account()
    rig.now += 1
    key, made = await rig.sign_ins.sign_in_for_key("Anna", PASSWORD, "203.0.113.7", "voltbus-cli")
    assert rig.access.principal_of_key(key) == principal("anna", [Role.OPERATOR], rig.now)
    with pytest.raises(SignInRefused):
        await rig.sign_ins.sign_in_for_key("anna", "wrong", "203.0.113.7", "")
    browsers = await rig.sign_in()
    assert rig.access.principal_of_key(browsers) is None
    assert rig.access.principal_of_key("vbs_" + browsers) is None
    rig.now = made.expires_at
    assert rig.access.principal_of_key(key) is None


async def test_nobody_is_fresher_than_the_moment() -> None:
    rig = Rig()
    await rig.account()
    rig.now += 1
    made = await rig.sign_ins.admit("anna", "a token", rig.now + 30, "203.0.113.7", "")
    assert made.authenticated_at == rig.now
    assert rig.sign_ins.is_used("a token")
    unknown = await rig.sign_ins.admit("anna", "another token", 0, "203.0.113.7", "")
    assert unknown.authenticated_at == 0
