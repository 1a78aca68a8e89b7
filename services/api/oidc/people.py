"""Whose account it is that somebody comes with from the provider."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from libs.access.principal import Grant, principal
from libs.access.roles import Role
from libs.events.access import AccountDefined
from libs.runtime.logging import get_logger
from services.api.access.changes import AccessChanges
from services.api.access.names import AccountId
from services.api.access.table import Access
from services.api.domain.errors import IdentityRefused
from services.api.domain.permitted import linked, recorded
from services.api.oidc.refusals import Reason
from services.api.oidc.settings import OidcSettings
from services.api.oidc.tokens import LONGEST_ID

log = get_logger(__name__)

BY: Final = principal("oidc", [Role.PLATFORM_ADMIN])
"""Who changes accounts as the provider says."""
_EMAIL: Final = "email"
_VERIFIED: Final = "email_verified"
_LONGEST_NAME: Final = 200
_MOST_GROUPS: Final = 1000
_ACCOUNT_ID: Final = TypeAdapter[str](AccountId)


class Person(msgspec.Struct, frozen=True):
    """Who the provider says it is. `account_id`: what the account is called at a first sign-in, "" if it says nothing
    that can be one. `grants`: by the person's groups; None if groups do not count.
    """

    issuer: str
    subject: str
    account_id: str
    name: str
    grants: tuple[Grant, ...] | None


def missing(claims: Mapping[str, Any], settings: OidcSettings) -> bool:
    """Whether an ID token lacks what the account or its roles depend on, which the provider may say elsewhere."""
    wanted = {settings.oidc_subject_claim, settings.oidc_account_claim}
    if settings.oidc_account_claim == _EMAIL:
        wanted.add(_VERIFIED)
    if settings.oidc_roles:
        wanted.add(settings.oidc_groups_claim)
    return not wanted <= claims.keys()


def joined(claims: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What an ID token says and what is said beside it; that an address is verified counts only for the same one."""
    found = {**more, **claims}
    if _VERIFIED not in claims and more.get(_EMAIL) != found.get(_EMAIL):
        found.pop(_VERIFIED, None)
    return found


def person_of(claims: Mapping[str, Any], settings: OidcSettings) -> Person:
    """Who the claims, which are checked, are of. Raises IdentityRefused if they do not say it."""
    roles = settings.oidc_roles
    subject = claims.get(settings.oidc_subject_claim)
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_ID:
        raise IdentityRefused(Reason.TOKEN, settings.oidc_subject_claim[:50])
    name = claims.get("name")
    return Person(
        issuer=settings.oidc_issuer,
        subject=subject,
        account_id=_account_id(claims, settings.oidc_account_claim),
        name=name[:_LONGEST_NAME] if isinstance(name, str) and name.isprintable() else "",
        grants=_granted(claims.get(settings.oidc_groups_claim), roles) if roles else None,
    )


def _account_id(claims: Mapping[str, Any], claim: str) -> str:
    if claim == _EMAIL and claims.get(_VERIFIED) is not True:
        return ""
    try:
        return _ACCOUNT_ID.validate_python(claims.get(claim))
    except ValidationError:
        return ""


def _granted(groups: object, roles: Mapping[str, tuple[Grant, ...]]) -> tuple[Grant, ...]:
    listed: Iterable[object] = (
        [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else ()
    )
    names = {each for each in list(listed)[:_MOST_GROUPS] if isinstance(each, str)}
    return tuple(
        dict.fromkeys(grant for group, grants in roles.items() if group in names for grant in grants)
    )


class People:
    """Accounts of who comes from the provider; `changes` links and makes them."""

    def __init__(self, access: Access, changes: AccessChanges) -> None:
        self._access = access
        self._changes = changes

    async def account_of(self, person: Person) -> str:
        """The account of a person: the one that is linked with him, else the one of that name, which is linked now.

        Where groups give roles, it has those of now, and is made if there is none. Raises IdentityRefused if there is
        no account for him; Conflict for the last platform-admin who would be none any more; BusUnavailableError.
        """
        found = linked(self._access.accounts.values(), person.issuer, person.subject)
        account_id = person.account_id if found is None else found.account_id
        if not account_id:
            raise IdentityRefused(Reason.ACCOUNT, "no name")
        self._must_be_free(person, found or self._access.accounts.get(account_id))
        if person.grants == () and found is None:
            raise IdentityRefused(Reason.GROUPS)
        if found is None or (person.grants is not None and found.grants != recorded(person.grants)):
            await self._change(person, account_id)
        if person.grants == ():
            raise IdentityRefused(Reason.GROUPS)
        return account_id

    async def _change(self, person: Person, account_id: str) -> None:
        changes: dict[str, Any] = {"issuer": person.issuer, "subject": person.subject}
        if person.grants is not None:
            changes["grants"] = person.grants
        if account_id not in self._access.accounts:
            changes["display_name"] = person.name

        def base(old: AccountDefined | None) -> AccountDefined:
            self._must_be_free(person, old)
            return old or self._changes.blank(account_id)

        await self._changes.change_account(BY, account_id, changes, base)

    def _must_be_free(self, person: Person, account: AccountDefined | None) -> None:
        """Raise IdentityRefused unless the account may be this person's."""
        if account is None:
            if person.grants is None:
                raise IdentityRefused(Reason.ACCOUNT, "there is none")
        elif account.disabled:
            raise IdentityRefused(Reason.ACCOUNT, "disabled")
        elif account.subject:
            if (account.issuer, account.subject) != (person.issuer, person.subject):
                raise IdentityRefused(Reason.ACCOUNT, "linked with another person")
            if account.password_hash is not None and person.grants is not None:
                # Whoever knows the password would have the roles of the groups.
                raise IdentityRefused(Reason.ACCOUNT, "has a password, and groups give roles")
        elif account.password_hash is not None:
            # Whoever can choose a name at the provider could choose that of an administrator here.
            raise IdentityRefused(Reason.ACCOUNT, "has a password: link it")
