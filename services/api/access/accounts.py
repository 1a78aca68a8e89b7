"""Accounts of people."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Query, Response, status
from pydantic import Field, SecretStr, StringConstraints

from libs.access.principal import EVERY_ORGANISATION, Grant
from libs.access.roles import Permission, Role
from libs.events.access import AccessGrant, AccountDefined
from libs.events.topics import ACCESS_ACCOUNTS
from services.api.access.hashing import LONGEST, SHORTEST
from services.api.access.names import AccountId
from services.api.access.table import Access
from services.api.context import Api
from services.api.domain.errors import Invalid
from services.api.domain.permitted import administers, granted
from services.api.http.fields import Flag, Folded, Input, Output, Text, Time
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import location, routes
from services.api.registry.entries import CONDITIONAL, IfMatch, must_match

router = routes("access")

_EDIT = needs(Permission.EDIT_ACCESS)


class RoleGrant(Input):
    """A role. `organisation_id`: where it holds; `*`: in all organisations, and for what belongs to none."""

    role: Role
    organisation_id: Annotated[
        str, StringConstraints(max_length=64, pattern=r"^(\*|[a-z0-9][a-z0-9_-]*)$")
    ] = EVERY_ORGANISATION

    @property
    def grant(self) -> Grant:
        """As libs.access has it."""
        return Grant(self.role, self.organisation_id)


Grants = Annotated[list[RoleGrant], Field(max_length=20)]
Password = Annotated[
    SecretStr, Field(description=f"{SHORTEST} to {LONGEST} characters, not the account's name.")
]


class AccountSettings(Input):
    """What is configured of an account."""

    display_name: Text = ""
    grants: Grants = Field(default_factory=list)
    disabled: Flag = False
    issuer: Text = Field("", description="OpenID provider at which the person signs in.")
    subject: Text = Field("", description="What that provider calls the person (`sub`); needs `issuer`.")

    def changes(self, *, partly: bool) -> dict[str, Any]:
        """As `AccessChanges` takes them; `partly`: only what the body names."""
        found = self.model_dump(
            include={"display_name", "disabled", "issuer", "subject"}, exclude_unset=partly
        )
        if not partly or "grants" in self.model_fields_set:
            found["grants"] = tuple(each.grant for each in self.grants)
        return found


class NewAccount(AccountSettings):
    """An account to be made. Without a password nobody can sign in with it yet."""

    account_id: AccountId
    password: Password | None = None


class NewPassword(Input):
    """A password to be set."""

    password: Password


class Account(Output):
    """An account. `sign_ins`: how many count now."""

    account_id: str
    display_name: str
    grants: list[RoleGrant]
    disabled: bool
    has_password: bool
    issuer: str
    subject: str
    sign_ins: int
    updated_at: Time
    changed_by: str


class AccountQuery(ListQuery):
    """Filters of accounts."""

    q: Folded | None = Field(None, description="Part of the name.")


@router.get("/accounts", dependencies=_EDIT)
async def list_accounts(api: Api, query: Annotated[AccountQuery, Query()]) -> Page[Account]:
    """Accounts by name."""

    def found(key: str) -> Account | None:
        account = api.access.accounts.get(key)
        if account is None or not administers(api.principal, account.grants):
            return None
        if not matches(query.q, account.account_id, account.display_name):
            return None
        return shown_account(api.access, account)

    items, cursor = await page_of([api.access.keys[ACCESS_ACCOUNTS]], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/accounts", status_code=status.HTTP_201_CREATED, dependencies=_EDIT)
async def create_account(api: Api, response: Response, body: NewAccount) -> Account:
    """Make an account; 409 if there is one. Nobody gives a role that may do what he may not do himself."""
    must_be_organisations(api, body.grants)
    password = None if body.password is None else body.password.get_secret_value()
    made = await api.access_changes.create_account(
        api.principal, body.account_id, body.changes(partly=False), password
    )
    response.headers["Location"] = location("accounts", made.account_id)
    return _answer(api, response, made)


@router.get("/accounts/{account_id}", dependencies=_EDIT)
async def get_account(api: Api, response: Response, account_id: Folded) -> Account:
    """One account."""
    return _answer(api, response, api.access_changes.account(api.principal, account_id))


@router.put("/accounts/{account_id}", responses=CONDITIONAL, dependencies=_EDIT)
async def put_account(
    api: Api, response: Response, account_id: AccountId, body: AccountSettings, if_match: IfMatch = None
) -> Account:
    """Make an account, or replace what is configured of it; its password stays."""

    def base(old: AccountDefined | None) -> AccountDefined:
        must_match(old, if_match)
        response.status_code = status.HTTP_201_CREATED if old is None else status.HTTP_200_OK
        return old or api.access_changes.blank(account_id)

    must_be_organisations(api, body.grants)
    changes = body.changes(partly=False)
    made = await api.access_changes.change_account(api.principal, account_id, changes, base)
    return _answer(api, response, made)


@router.patch("/accounts/{account_id}", responses=CONDITIONAL, dependencies=_EDIT)
async def change_account(
    api: Api, response: Response, account_id: Folded, body: AccountSettings, if_match: IfMatch = None
) -> Account:
    """Change what the body names, nothing else. `grants` replaces the whole list."""

    def base(_: AccountDefined | None) -> AccountDefined:
        old = api.access_changes.account(api.principal, account_id)
        must_match(old, if_match)
        return old

    must_be_organisations(api, body.grants)
    changes = body.changes(partly=True)
    made = await api.access_changes.change_account(api.principal, account_id, changes, base)
    return _answer(api, response, made)


@router.delete(
    "/accounts/{account_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
    dependencies=_EDIT,
)
async def delete_account(api: Api, account_id: Folded, if_match: IfMatch = None) -> None:
    """Forget an account; its sign-ins end. 409 for the last platform-admin, and for who asks."""
    await api.access_changes.remove_account(api.principal, account_id, lambda old: must_match(old, if_match))


@router.post("/accounts/{account_id}/password", status_code=status.HTTP_204_NO_CONTENT, dependencies=_EDIT)
async def set_password(api: Api, account_id: Folded, body: NewPassword) -> None:
    """Give an account a password; its sign-ins end."""
    await api.access_changes.set_password(api.principal, account_id, body.password.get_secret_value())


@router.post("/accounts/{account_id}/sign-out", status_code=status.HTTP_204_NO_CONTENT, dependencies=_EDIT)
async def sign_out(api: Api, account_id: Folded) -> None:
    """End every sign-in of an account."""
    await api.access_changes.sign_out_everywhere(api.principal, account_id)


def shown_account(access: Access, account: AccountDefined) -> Account:
    """An account without its hash. Roles of a newer release are not shown."""
    return Account.model_validate(
        {
            "account_id": account.account_id,
            "display_name": account.display_name,
            "grants": shown_grants(account.grants),
            "disabled": account.disabled,
            "has_password": account.password_hash is not None,
            "issuer": account.issuer,
            "subject": account.subject,
            "sign_ins": len(access.sign_ins_of(account.account_id)),
            "updated_at": account.recorded_at,
            "changed_by": account.changed_by,
        }
    )


def shown_grants(grants: Iterable[AccessGrant]) -> list[RoleGrant]:
    """Grants as they are written."""
    return [RoleGrant(role=each.role, organisation_id=each.organisation_id) for each in granted(grants)]


def must_be_organisations(api: Api, grants: Iterable[RoleGrant]) -> None:
    """Raises Invalid for a grant in an organisation that there is not."""
    for number, each in enumerate(grants):
        known = each.organisation_id == EVERY_ORGANISATION
        if not known and each.organisation_id not in api.registry.organisations:
            raise Invalid(
                f"there is no organisation {each.organisation_id!r}", f"/grants/{number}/organisation_id"
            )


def _answer(api: Api, response: Response, account: AccountDefined) -> Account:
    response.headers["ETag"] = f'"{account.event_id}"'
    return shown_account(api.access, account)
