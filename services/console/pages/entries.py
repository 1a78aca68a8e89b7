"""Stations, sites and tokens: registered, changed and removed."""

from collections.abc import Awaitable, Collection
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from msgspec.structs import replace
from pydantic import BaseModel

from libs.access.roles import Permission
from services.api.domain.errors import Forbidden, Invalid, NotFound
from services.api.http.audit_entry import asked
from services.api.http.permissions import needs
from services.console.editing import (
    Form,
    Trouble,
    defaults_of,
    fields_for,
    merged,
    sent,
    shown_again,
    text_of,
    tried,
)
from services.console.forms import payload_of
from services.console.kinds import KINDS, EntryKind
from services.console.web.visit import Visit, Visiting

router = APIRouter(dependencies=needs(Permission.READ))

_MOST_SUGGESTED: Final = 500


@router.get("/new/{kind}", response_class=HTMLResponse)
async def ask_for_new(visit: Visiting, kind: str) -> Response:
    """The form for a new entry, with the defaults in it; those in the address stand over them."""
    found = kind_of(visit, kind)
    must_have(visit, found.permission)
    form = _new_form(visit, found)
    given = {field.name: visit.request.query_params.get(field.name) for field in form.fields}
    entered = {**form.entered, **{name: text for name, text in given.items() if text}}
    return _page(visit, kind, "", replace(form, entered=entered))


@router.post("/new/{kind}", response_class=HTMLResponse)
async def register(visit: Visiting, kind: str) -> Response:
    """The page of the new entry; the form again, with what was typed, if it cannot be."""
    found = kind_of(visit, kind)
    given = await sent(visit)
    form = _new_form(visit, found)

    def make() -> Awaitable[BaseModel]:
        body = found.new.model_validate(payload_of(form.fields, given.entered))
        return found.create(visit.api, visit.must, body)

    outcome = await tried(visit, given, found.permission, make)
    if isinstance(outcome, Trouble):
        return _page(visit, kind, "", shown_again(form, given, outcome))
    key = str(getattr(outcome, form.fields[0].name))
    return RedirectResponse(found.home(key), 303)


@router.get("/edit/{kind}/{key:path}", response_class=HTMLResponse)
async def ask_for_changes(visit: Visiting, kind: str, key: str) -> Response:
    """The form with what the entry has now."""
    found = kind_of(visit, kind, key)
    must_have(visit, found.permission)
    return _page(visit, kind, key, await _edit_form(visit, found, key))


@router.post("/edit/{kind}/{key:path}", response_class=HTMLResponse)
async def change(visit: Visiting, kind: str, key: str) -> Response:
    """The entry's page once it is changed in what differs from what the form began with.

    The form again, with what was typed, if it cannot be; beside what others changed, if they did meanwhile.
    """
    found = kind_of(visit, kind, key)
    given = await sent(visit)
    form = await _edit_form(visit, found, key)

    async def make() -> None:
        changed = given.changed(form.fields, found.together)
        _must_last(visit, found, changed)
        if "organisation_id" in changed:
            # Empty: it belongs to none.
            changed["organisation_id"] = given.text("organisation_id")
        if changed:
            body = found.settings.model_validate(changed)
            await found.change(visit.api, visit.must, key, body, given.if_match)

    outcome = await tried(visit, given, found.permission, make)
    if outcome is None:
        return RedirectResponse(found.home(key), 303)
    again = merged if outcome.outdated else shown_again
    return _page(visit, kind, key, again(form, given, outcome))


@router.get("/remove/{kind}/{key:path}", response_class=HTMLResponse)
async def ask_to_remove(visit: Visiting, kind: str, key: str) -> Response:
    """What goes, and what stays, before it goes."""
    found = kind_of(visit, kind, key)
    must_have(visit, found.permission)
    return _removal_page(visit, kind, key, await _edit_form(visit, found, key))


@router.post("/remove/{kind}/{key:path}", response_class=HTMLResponse)
async def remove(visit: Visiting, kind: str, key: str) -> Response:
    """The list without it; the question again if it changed meanwhile, or is in use."""
    found = kind_of(visit, kind, key)
    given = await sent(visit)
    form = await _edit_form(visit, found, key)
    outcome = await tried(
        visit, given, found.permission, lambda: found.remove(visit.api, key, given.if_match)
    )
    if outcome is None:
        return RedirectResponse(found.list_at, 303)
    again = merged(form, given, outcome) if outcome.outdated else replace(form, trouble=outcome)
    return _removal_page(visit, kind, key, again)


def kind_of(visit: Visit, kind: str, key: str = "") -> EntryKind:
    """The kind of this name. From now on the request is about the entry with that key, as a route of the API is."""
    if kind not in KINDS:
        raise NotFound(f"there is no kind {kind!r}")
    name = "id_token" if kind == "token" else f"{kind}_id"
    visit.request.scope["path_params"] = {name: key} if key else {}
    must_have(visit, KINDS[kind].reading)
    return KINDS[kind]


def must_have(visit: Visit, permission: Permission) -> None:
    """Raise Forbidden unless who asks may do that, be it after the password was given again."""
    asked(permission)
    if not visit.may(permission):
        raise Forbidden(f"this needs the permission {permission}", permission.value)


def _must_last(visit: Visit, kind: EntryKind, changed: dict[str, Any]) -> None:
    _ = visit.words.text
    for name in kind.lasting:
        if name in changed and changed[name] is None:
            raise Invalid(_("It can be replaced, and not be taken away."), f"/{name}")


def _new_form(visit: Visit, kind: EntryKind) -> Form:
    labels = kind.labels(visit.words.text)
    fields = fields_for(kind.new, labels)
    return Form(fields, entered=defaults_of(kind.new, labels), suggested=_suggested(visit, kind))


async def _edit_form(visit: Visit, kind: EntryKind, key: str) -> Form:
    response = Response()
    entry = await kind.get(visit.api, response, key)
    fields = fields_for(kind.settings, kind.labels(visit.words.text))
    has = {field.name: text_of(getattr(entry, field.name, None)) for field in fields}
    tag = response.headers["etag"].strip('"')
    return Form(fields, entered=has, was=has, tag=tag, suggested=_suggested(visit, kind))


def _suggested(visit: Visit, kind: EntryKind) -> dict[str, tuple[str, ...]]:
    """The first ids of what the entry can refer to."""
    registry = visit.api.registry
    known: dict[str, Collection[str]] = {
        "site_id": registry.sites,
        "tariff_id": registry.tariffs,
        "organisation_id": registry.organisations,
    }
    return {
        name: tuple(sorted(known[name])[:_MOST_SUGGESTED])
        for name in kind.settings.model_fields
        if name in known
    }


def _page(visit: Visit, kind: str, key: str, form: Form) -> Response:
    back = KINDS[kind].home(key) if key else KINDS[kind].list_at
    return visit.page("entry_form.html", form.trouble.status, kind=kind, key=key, made=form, back=back)


def _removal_page(visit: Visit, kind: str, key: str, form: Form) -> Response:
    back = KINDS[kind].home(key)
    return visit.page("entry_removal.html", form.trouble.status, kind=kind, key=key, made=form, back=back)
