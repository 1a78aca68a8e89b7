"""Whether who asks may do it."""

from collections.abc import Iterable
from typing import Final

from libs.access.principal import EVERY_ORGANISATION, Grant, Principal
from libs.access.roles import FRESH, PERMISSIONS, Permission, Role
from libs.events.access import AccessGrant, AccountDefined
from services.api.domain.errors import Conflict, Forbidden

_ROLES: Final = frozenset(Role)


def must_be_permitted(
    who: Principal, permission: Permission, now: int, fresh: int | None, *, at: str | None = None
) -> None:
    """Raises Forbidden if `who` may not do this in the organisation `at`; None: in any.

    What is in FRESH a person may do only for `fresh` microseconds after the last password, a key at any time; None:
    nothing is changed, so anybody may at any time.
    """
    if not (who.may_somewhere(permission) if at is None else who.may(permission, at)):
        raise Forbidden(
            f"this needs the permission {permission}, which no role of {who.name} has"
            + (f" in the organisation {at}" if at else ""),
            permission.value,
        )
    if fresh is None or permission not in FRESH or who.authenticated_at is None:
        return
    if now - who.authenticated_at > fresh:
        raise Forbidden(
            f"this needs the permission {permission} and a fresh sign-in: give the password again",
            permission.value,
        )


def must_be_permitted_everywhere(who: Principal, permission: Permission) -> None:
    """Raises Forbidden unless `who` may do this in all organisations."""
    if not who.may(permission):
        raise Forbidden(f"this needs the permission {permission} in all organisations", permission.value)


def granted(grants: Iterable[AccessGrant]) -> tuple[Grant, ...]:
    """Grants as recorded. A role that this release does not know permits nothing."""
    return tuple(Grant(Role(grant.role), grant.organisation_id) for grant in grants if grant.role in _ROLES)


def recorded(grants: Iterable[Grant]) -> tuple[AccessGrant, ...]:
    """Grants as they are recorded, each once."""
    return tuple(
        AccessGrant(role=grant.role.value, organisation_id=grant.organisation_id)
        for grant in dict.fromkeys(grants)
    )


def administers(by: Principal, grants: Iterable[AccessGrant]) -> bool:
    """Whether an account or key with these grants is one of those that `by` sees and may change.

    It is if every grant is in an organisation whose accounts `by` edits; one without grants belongs to the platform.
    """
    found = {grant.organisation_id for grant in grants}
    # Nobody has a grant in an organisation of the name `*` but in all.
    return by.may(Permission.EDIT_ACCESS) or (
        bool(found) and all(by.may(Permission.EDIT_ACCESS, each) for each in found)
    )


def must_have_in_hand(by: Principal, grants: Iterable[Grant], path: str | None = None) -> None:
    """Raises Forbidden unless `by` may give and take these grants: nobody gives what he may not do himself.

    `path`: where in the body they are.
    """
    for grant in grants:
        everywhere = grant.organisation_id == EVERY_ORGANISATION
        where = None if everywhere else grant.organisation_id
        needed = Permission.EDIT_PLATFORM if everywhere else Permission.EDIT_ACCESS
        for permission in (needed, *sorted(PERMISSIONS[grant.role])):
            if not by.may(permission, where):
                raise Forbidden(
                    f"to give or take the role {grant.role} needs the permission {permission}",
                    permission.value,
                    path,
                )


def must_leave_an_admin(
    by: Principal, old: AccountDefined, new: AccountDefined | None, others: Iterable[AccountDefined]
) -> None:
    """Raises Conflict if a change of an account (None: its end) shuts out who makes it, or the last platform admin.

    `others`: all accounts; those of another name count.
    """
    if is_own(by, old.account_id) and (new is None or new.disabled):
        raise Conflict("nobody removes or disables the account that he is signed in with")
    if not _is_admin(old) or (new is not None and _is_admin(new)):
        return
    if not any(_is_admin(each) for each in others if each.account_id != old.account_id):
        raise Conflict(
            f"{old.account_id} is the last account that is a platform-admin: make another one first"
        )


def linked(accounts: Iterable[AccountDefined], issuer: str, subject: str) -> AccountDefined | None:
    """The account of the person whom this issuer calls `subject`; None if there is none, or `subject` is ""."""
    found = (each for each in accounts if subject and (each.issuer, each.subject) == (issuer, subject))
    return next(found, None)


def must_be_nobody_elses(account: AccountDefined, others: Iterable[AccountDefined]) -> None:
    """Raises Conflict if another account is of the same person at the OpenID provider. `others`: all accounts."""
    found = linked(
        (each for each in others if each.account_id != account.account_id), account.issuer, account.subject
    )
    if found is not None:
        raise Conflict(f"{found.account_id} is linked with this person already")


def is_own(by: Principal, account_id: str) -> bool:
    """Whether `by` is signed in with this account; a key of the same name is not."""
    return by.authenticated_at is not None and by.name == account_id


def _is_admin(account: AccountDefined) -> bool:
    wanted = (Role.PLATFORM_ADMIN, EVERY_ORGANISATION)
    return not account.disabled and wanted in {
        (grant.role, grant.organisation_id) for grant in granted(account.grants)
    }
