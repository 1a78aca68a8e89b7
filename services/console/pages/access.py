"""Accounts of people, keys of programs, and the visitor's own sign-ins."""

from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from libs.access.roles import Permission, Role
from libs.runtime.clock import micros, moment_of
from services.api.access import accounts, keys
from services.api.domain.errors import Invalid
from services.api.domain.permitted import administers
from services.api.http.permissions import needs
from services.console.editing import Sent, Trouble, sent, tried
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.rendering import address
from services.console.web.visit import Visit, Visiting

router = APIRouter()

_EDIT: Final = needs(Permission.EDIT_ACCESS)
_SPARE: Final = 3
_MOST_GRANTS: Final = 20
_NOTHING: Final = Trouble({}, HTTPStatus.OK)

Texts = Mapping[str, str]


@router.get("/accounts", response_class=HTMLResponse, dependencies=_EDIT)
async def show_accounts(visit: Visiting) -> Response:
    """Accounts by name, and the form for a new one."""
    return await _accounts_page(visit, {}, _NOTHING)


@router.post("/accounts", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def make_account(visit: Visiting) -> Response:
    """The page of the new account."""
    given = await sent(visit)

    def make() -> Awaitable[accounts.Account]:
        body = {
            "account_id": given.text("account_id"),
            "display_name": given.text("display_name"),
            "grants": grants_of(given),
            "password": given.entered.get("password") or None,
        }
        return accounts.create_account(visit.api, Response(), accounts.NewAccount.model_validate(body))

    outcome = await tried(visit, given, Permission.EDIT_ACCESS, make)
    if isinstance(outcome, Trouble):
        return await _accounts_page(visit, given.entered, outcome)
    return RedirectResponse(f"/accounts/{outcome.account_id}", 303)


@router.get("/accounts/{account_id}", response_class=HTMLResponse, dependencies=_EDIT)
async def show_account(visit: Visiting, account_id: str) -> Response:
    """One account: its roles, and what can be done about it."""
    return await _account_page(visit, account_id, None, _NOTHING)


@router.post("/accounts/{account_id}", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def change_account(visit: Visiting, account_id: str) -> Response:
    """Changed, given a password, signed out or removed; `way` says which."""
    given = await sent(visit)
    outcome = await tried(
        visit, given, Permission.EDIT_ACCESS, lambda: _account_changed(visit, account_id, given)
    )
    if isinstance(outcome, Trouble):
        return await _account_page(visit, account_id, given, outcome)
    return RedirectResponse(outcome, 303)


async def _account_changed(visit: Visit, account_id: str, given: Sent) -> str:
    """Where to go once it is done."""
    _ = visit.words.text
    there = address(f"/accounts/{account_id}", {}, done=given.text("way"))
    match given.text("way"):
        case "password":
            password = accounts.NewPassword.model_validate(
                {"password": given.entered.get("new_password", "")}
            )
            await accounts.set_password(visit.api, account_id, password)
        case "sign-out":
            await accounts.sign_out(visit.api, account_id)
        case "remove":
            if given.text("sure") != "yes":
                raise Invalid(_("This cannot be undone: say that you are sure."), "/sure")
            await accounts.delete_account(visit.api, account_id, given.if_match)
            return "/accounts"
        case _:
            body: dict[str, Any] = {
                "display_name": given.text("display_name"),
                "grants": grants_of(given),
                "disabled": given.text("disabled") == "true",
            }
            settings = accounts.AccountSettings.model_validate(body)
            await accounts.change_account(visit.api, Response(), account_id, settings, given.if_match)
    return there


@router.get("/keys", response_class=HTMLResponse, dependencies=_EDIT)
async def show_keys(visit: Visiting) -> Response:
    """Keys, and the form for a new one."""
    return await _keys_page(visit, {}, _NOTHING)


@router.post("/keys", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def make_key(visit: Visiting) -> Response:
    """The new key, which is shown here and never again."""
    given = await sent(visit)

    def make() -> Awaitable[keys.MadeKey]:
        body: dict[str, Any] = {
            "name": given.text("name"),
            "grants": grants_of(given),
            "expires_at": given.text("expires_at") or None,
            "note": given.text("note"),
        }
        return keys.make_key(visit.api, Response(), keys.NewKey.model_validate(body))

    outcome = await tried(visit, given, Permission.EDIT_ACCESS, make)
    if isinstance(outcome, Trouble):
        return await _keys_page(visit, given.entered, outcome)
    return await _keys_page(visit, {}, _NOTHING, made=outcome)


@router.get("/keys/{key_id}/revoke", response_class=HTMLResponse, dependencies=_EDIT)
async def ask_to_revoke(visit: Visiting, key_id: str) -> Response:
    """What ends, before it ends."""
    return visit.page("key_revocation.html", key=key_in_reach(visit, key_id), trouble=_NOTHING)


@router.post("/keys/{key_id}/revoke", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def revoke_key(visit: Visiting, key_id: str) -> Response:
    """The list, where it stands as revoked."""
    given = await sent(visit)
    outcome = await tried(visit, given, Permission.EDIT_ACCESS, lambda: keys.revoke_key(visit.api, key_id))
    if isinstance(outcome, Trouble):
        return visit.page(
            "key_revocation.html", outcome.status, key=key_in_reach(visit, key_id), trouble=outcome
        )
    return RedirectResponse("/keys", 303)


@router.get("/sign-ins", response_class=HTMLResponse, dependencies=needs(Permission.READ))
async def show_sign_ins(visit: Visiting) -> Response:
    """Where the visitor is signed in."""
    found = visit.api.access.sign_ins_of(visit.principal.name)
    rows = [
        {
            "since": moment_of(each.signed_in_at),
            "until": moment_of(each.expires_at),
            "address": each.address,
            "browser": each.user_agent,
        }
        for each in reversed(found)
    ]
    return visit.page("sign_ins.html", rows=rows)


def grants_of(given: Sent) -> list[dict[str, str]]:
    """The rows of roles that have one, as the API takes them."""
    return [
        {"role": role, "organisation_id": given.text(f"organisation{number}") or "*"}
        for number in range(_MOST_GRANTS)
        if (role := given.text(f"role{number}"))
    ]


def _rows(entered: Texts, has: list[Any]) -> list[tuple[str, str]]:
    """Role and organisation by row, with some rows to spare."""
    if any(name.startswith("role") for name in entered):
        rows = [
            (entered.get(f"role{n}", ""), entered.get(f"organisation{n}", "")) for n in range(_MOST_GRANTS)
        ]
        filled = max((number + 1 for number, row in enumerate(rows) if row[0]), default=0)
        return (rows[:filled] + [("", "*")] * _SPARE)[:_MOST_GRANTS]
    rows = [(str(each.role), each.organisation_id) for each in has]
    return (rows + [("", "*")] * _SPARE)[:_MOST_GRANTS]


def key_in_reach(visit: Visit, key_id: str) -> keys.Key | None:
    """The key, if it is one of those that who asks sees and may change."""
    found = visit.api.access.access_keys.get(key_id)
    if found is None or not administers(visit.principal, found.grants):
        return None
    return keys.shown_key(found, micros(visit.now))


async def _accounts_page(visit: Visit, entered: Texts, trouble: Trouble) -> Response:
    query, wrong = asked(accounts.AccountQuery, visit.request.query_params, limit=PAGE_SIZE)
    page = await accounts.list_accounts(visit.api, query)
    return visit.page(
        "accounts.html", trouble.status, page=page, wrong=wrong, entered=entered, trouble=trouble,
        roles=list(Role), rows=_rows(entered, []),
    )  # fmt: skip


async def _account_page(visit: Visit, account_id: str, given: Sent | None, trouble: Trouble) -> Response:
    response = Response()
    account = await accounts.get_account(visit.api, response, account_id.casefold())
    entered: Texts = {} if given is None or given.text("way") not in ("", "save") else given.entered
    # Who has seen what changed meanwhile may write over it.
    tag = response.headers["etag"].strip('"')
    if given is not None and not trouble.outdated:
        tag = given.tag or tag
    return visit.page(
        "account.html", trouble.status, account=account, entered=entered, trouble=trouble, roles=list(Role),
        rows=_rows(entered, list(account.grants)), tag=tag,
    )  # fmt: skip


async def _keys_page(
    visit: Visit, entered: Texts, trouble: Trouble, made: keys.MadeKey | None = None
) -> Response:
    query, wrong = asked(keys.KeyQuery, visit.request.query_params, limit=PAGE_SIZE)
    page = await keys.list_keys(visit.api, query)
    return visit.page(
        "keys.html", trouble.status, page=page, wrong=wrong, entered=entered, trouble=trouble,
        roles=list(Role), rows=_rows(entered, []), made=made,
    )  # fmt: skip
