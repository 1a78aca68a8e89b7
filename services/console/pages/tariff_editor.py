"""The tariff editor: terms as fields or JSON, tried on a past session before anything is published."""

import json
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from msgspec.structs import replace

from libs.access.roles import Permission
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrIssued
from libs.runtime.clock import moment_of
from libs.tariffs.bill import Bill
from libs.tariffs.records import billed, usage_of
from services.api.billing.sessions import CdrQuery, list_cdrs
from services.api.domain.errors import Forbidden, Invalid, NotFound
from services.api.http.permissions import needs
from services.api.registry.tariffs import (
    NewTariff,
    Tariff,
    TariffChange,
    change_tariff,
    create_tariff,
    get_tariff,
)
from services.console.editing import Form, Sent, Trouble, merged, sent, shown_again, tried
from services.console.records import charge_record
from services.console.tariff_forms import Written, fields, form_of, written
from services.console.web.visit import Visit, Visiting, stored

router = APIRouter(dependencies=needs(Permission.READ))

_RECENT: Final = 20


class Trial(msgspec.Struct, frozen=True):
    """A session as it was billed, and as it would be. `document`: the terms that were tried."""

    document: dict[str, Any]
    record: CdrIssued
    bill: Bill
    currency: str


@router.get("/new/tariff", response_class=HTMLResponse)
async def ask_for_tariff(visit: Visiting) -> Response:
    """The editor of a tariff that is not there yet."""
    return await _page(visit, "", await _form(visit, ""), visit.request.query_params.get("session", ""))


@router.get("/edit/tariff/{tariff_id}", response_class=HTMLResponse)
async def ask_for_version(visit: Visiting, tariff_id: str) -> Response:
    """The editor of a tariff, with its last version. `session` in the address: what it is to be tried on."""
    session = visit.request.query_params.get("session", "")
    return await _page(visit, tariff_id, await _form(visit, tariff_id), session)


@router.post("/new/tariff", response_class=HTMLResponse)
async def make_tariff(visit: Visiting) -> Response:
    """Tried, or published as the first version."""
    return await _taken(visit, "")


@router.post("/edit/tariff/{tariff_id}", response_class=HTMLResponse)
async def change(visit: Visiting, tariff_id: str) -> Response:
    """Tried, or published as a new version."""
    return await _taken(visit, tariff_id)


async def _taken(visit: Visit, tariff_id: str) -> Response:
    given = await sent(visit)
    form = await _form(visit, tariff_id)
    session = given.text("session")
    publish = given.text("way") == "publish"

    async def do() -> Trial | Tariff:
        read = written(given.entered, visit.words.text("This is no JSON."))
        if publish:
            return await _published(visit, tariff_id, given, read)
        return await _tried(visit, given, read, session)

    outcome = await tried(visit, given, Permission.EDIT_TARIFFS, do)
    if isinstance(outcome, Tariff):
        return RedirectResponse(f"/tariffs/{outcome.tariff_id}", 303)
    if isinstance(outcome, Trial):
        # As it was understood, whichever way it was written.
        understood = json.dumps(outcome.document, indent=2, ensure_ascii=False)
        again = shown_again(form, given, Trouble({}, 200))
        again = replace(again, entered={**again.entered, "terms": understood})
        return await _page(visit, tariff_id, again, session, outcome)
    again = (merged if outcome.outdated else shown_again)(form, given, outcome)
    # Not a field of an entry: which of both ways of writing counts.
    again = replace(again, entered={**again.entered, "source": given.text("source")})
    return await _page(visit, tariff_id, again, session)


async def _published(visit: Visit, tariff_id: str, given: Sent, read: Written) -> Tariff:
    _ = visit.words.text
    if given.text("sure") != "yes":
        raise Invalid(_("This cannot be undone: say that you are sure."), "/sure")
    body: dict[str, Any] = {"currency": given.text("currency"), "name": given.text("name"), **read.body()}
    if given.text("organisation_id") != given.was.get("organisation_id", ""):
        body["organisation_id"] = given.text("organisation_id")
    if given.text("valid_from"):
        body["valid_from"] = given.text("valid_from")
    if tariff_id:
        change = TariffChange.model_validate(body)
        return await change_tariff(visit.api, Response(), tariff_id, change, given.if_match)
    made = NewTariff.model_validate({**body, "tariff_id": given.text("tariff_id")})
    return await create_tariff(visit.api, Response(), made)


async def _tried(visit: Visit, given: Sent, read: Written, session_id: str) -> Trial:
    _ = visit.words.text
    if not session_id:
        raise Invalid(_("Choose the session that it is to be tried on."), "/session")
    record = await charge_record(visit, session_id)
    if record is None:
        raise NotFound(_("This session has no charge record."), "/session")
    currency = given.text("currency")
    version = TariffVersion(
        version=1, valid_from=0, currency=currency, price_per_kwh_milli=0, terms=read.terms
    )
    try:
        bill = billed(record, usage_of(record), version)
    except (ValueError, KeyError) as error:
        raise Invalid(str(error), "/session") from error
    return Trial(read.document, record, bill, currency)


async def _form(visit: Visit, tariff_id: str) -> Form:
    if not visit.may(Permission.EDIT_TARIFFS):
        raise Forbidden("this needs edit_tariffs", Permission.EDIT_TARIFFS.value)
    labels = fields(visit.words.text, new=not tariff_id)
    if not tariff_id:
        return form_of(None, labels)
    response = Response()
    tariff = await get_tariff(visit.api, response, tariff_id)
    return form_of(tariff, labels, response.headers["etag"].strip('"'))


async def _page(
    visit: Visit, tariff_id: str, form: Form, session: str, trial: Trial | None = None
) -> Response:
    recent = await stored(list_cdrs(visit.api, CdrQuery(limit=_RECENT)))
    return visit.page(
        "tariff_editor.html",
        form.trouble.status,
        tariff_id=tariff_id,
        made=form,
        session=session,
        recent=[] if recent is None else recent.items,
        trial=trial,
        tried_at=None if trial is None else moment_of(trial.record.started_at),
        source=form.entered.get("source", ""),
    )
