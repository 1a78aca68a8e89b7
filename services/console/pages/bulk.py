"""Bulk commands: chosen, previewed, started, watched, stopped and retried."""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from msgspec.structs import replace

from libs.access.command_classes import COMMAND_CLASSES
from libs.access.roles import Permission
from libs.events.bulk import BulkStationStatus
from services.api.commands.bulk import (
    BulkStationQuery,
    get_bulk_command,
    list_bulk_commands,
    preview_of,
    preview_targets,
    resume_bulk_command,
    retry_bulk_command,
    start_bulk_command,
    stations_page,
    stop_bulk_command,
)
from services.api.commands.bulk_bodies import (
    BulkCommand,
    BulkPreview,
    BulkWish,
    NewBulkCommand,
    Retry,
    Steering,
)
from services.api.domain.errors import NotFound
from services.api.http.paging import ListQuery, Page
from services.api.http.permissions import needs
from services.console import bulk
from services.console.editing import Form, Trouble, defaults_of, fields_for, sent, shown_again, tried
from services.console.forms import FormField
from services.console.pages.queries import PAGE_SIZE, asked
from services.console.web.rendering import path_of
from services.console.web.visit import Visit, Visiting, stored

router = APIRouter(dependencies=needs(Permission.READ))

_SHOWN: Final = needs(Permission.READ, personal=True)
_PAGE: Final = 20
_MOST_PREVIEWED: Final = 200


@router.get("/bulk", response_class=HTMLResponse, dependencies=_SHOWN)
async def show_bulk_commands(visit: Visiting) -> HTMLResponse:
    """Bulk commands, the newest first."""
    query, _wrong = asked(ListQuery, visit.request.query_params, limit=_PAGE)
    page = await stored(list_bulk_commands(visit.api, query))
    return visit.page("bulk_list.html", page=page or Page(items=[]), away=page is None)


@router.get("/bulk/new", response_class=HTMLResponse)
async def choose(visit: Visiting) -> HTMLResponse:
    """Which command the chosen stations are to be sent."""
    selection = bulk.chosen(visit.request.query_params)
    allowed = {
        form: [each for each in actions if visit.may(COMMAND_CLASSES[each])]
        for form, actions in bulk.choices().items()
    }
    unfit = _unfit(visit, selection)
    return visit.page("bulk_choice.html", selection=selection, choices=allowed, unfit=unfit)


@router.get("/bulk/new/{form}/{action}", response_class=HTMLResponse)
async def fill_in(visit: Visiting, form: str, action: str) -> HTMLResponse:
    """The form of the command."""
    made = _made(visit, form, action)
    stale = visit.is_stale(Permission.COMMAND_BULK)
    made = replace(made, trouble=replace(made.trouble, stale=stale))
    return _form(visit, (form, action), made, None)


@router.post("/bulk/new/{form}/{action}", response_class=HTMLResponse)
async def preview_or_start(visit: Visiting, form: str, action: str) -> Response:
    """What it would do; once that was seen and is to be done, the page of the bulk command."""
    given = await sent(visit)
    made = _made(visit, form, action)
    selection = bulk.chosen(visit.request.query_params)
    settings = _settings(visit)

    async def preview() -> BulkPreview:
        body = bulk.body_of(form, action, selection, settings, given)
        # All of it is to be right before anybody is asked whether it is meant.
        NewBulkCommand.model_validate(body)
        wish = BulkWish.model_validate({name: body[name] for name in BulkWish.model_fields if name in body})
        return preview_of(visit.api, await preview_targets(visit.api, visit.must, wish))

    def start() -> Awaitable[BulkCommand]:
        body = bulk.body_of(form, action, selection, settings, given)
        return start_bulk_command(
            api=visit.api,
            response=Response(),
            requester=visit.principal.name,
            must=visit.must,
            body=NewBulkCommand.model_validate(body | {"expected": given.text("expected")}),
            idempotency_key=given.once[:100] or None,
        )

    if unfit := _unfit(visit, selection):
        trouble = Trouble({"": unfit}, HTTPStatus.UNPROCESSABLE_ENTITY)
        return _form(visit, (form, action), shown_again(made, given, trouble), None)
    if form == bulk.OCPP and not any(bulk.ticked(given, part) for part in bulk.command_fields(form, action)):
        trouble = bulk.nothing_ticked(visit.words.text("Choose at least one OCPP version."))
        return _form(visit, (form, action), shown_again(made, given, trouble), None)
    digest = bulk.digest_of(selection, given)
    if given.text("start") and given.text("previewed") != digest:
        _ = visit.words.text
        changed = _("The form was changed after the preview. Look at the new one, and send it again.")
        made = shown_again(made, given, Trouble({"": changed}, HTTPStatus.CONFLICT))
    elif given.text("start") and given.text("expected"):
        started = await tried(visit, given, Permission.COMMAND_BULK, start)
        if not isinstance(started, Trouble):
            return RedirectResponse(f"/bulk/{started.bulk_id}", HTTPStatus.SEE_OTHER)
        made = shown_again(made, given, bulk.placed(started))
        if started.status not in (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE):
            return _form(visit, (form, action), made, None)
    found = await tried(visit, given, Permission.COMMAND_BULK, preview)
    if isinstance(found, Trouble):
        return _form(visit, (form, action), shown_again(made, given, bulk.placed(found)), None)
    if not made.trouble.wrong:
        made = shown_again(made, given, made.trouble)
    return _form(visit, (form, action), made, found, digest)


@router.get("/bulk/{bulk_id}", response_class=HTMLResponse, dependencies=_SHOWN)
async def show_bulk_command(visit: Visiting, bulk_id: str) -> Response:
    """A bulk command, its counts, and each station's part."""
    return await _one(visit, bulk_id, Form(_reasons(visit)))


@router.get("/bulk/{bulk_id}/{action}")
async def go_back(bulk_id: str, action: str) -> Response:
    """Where a refused form is shown, there is the bulk command."""
    _must_be_known(action)
    return RedirectResponse(path_of("bulk", bulk_id), HTTPStatus.SEE_OTHER)


@router.post("/bulk/{bulk_id}/{action}", response_class=HTMLResponse)
async def steer(visit: Visiting, bulk_id: str, action: str) -> Response:
    """Stop it, let it go on, or ask those again that did not accept."""
    given = await sent(visit)
    _must_be_known(action)

    def do() -> Awaitable[BulkCommand]:
        common: dict[str, Any] = {
            "api": visit.api,
            "requester": visit.principal.name,
            "must": visit.must,
            "bulk_id": bulk_id,
            "idempotency_key": given.once[:100] or None,
        }
        if action == "retry":
            return retry_bulk_command(body=Retry(reason=given.text("reason")), **common)
        known = stop_bulk_command if action == "stop" else resume_bulk_command
        return known(body=Steering(reason=given.text("reason")), **common)

    outcome = await tried(visit, given, Permission.COMMAND_BULK, do)
    if isinstance(outcome, Trouble):
        return await _one(visit, bulk_id, shown_again(Form(_reasons(visit)), given, outcome))
    return RedirectResponse(f"/bulk/{bulk_id}", HTTPStatus.SEE_OTHER)


def _must_be_known(action: str) -> None:
    if action not in ("stop", "resume", "retry"):
        raise NotFound(f"nothing is called {action!r} here")


async def _one(visit: Visit, bulk_id: str, made: Form) -> HTMLResponse:
    command = await get_bulk_command(visit.api, bulk_id)
    query, wrong = asked(BulkStationQuery, visit.request.query_params, limit=PAGE_SIZE)
    request = await visit.api.bulk.find(bulk_id)
    rows = await stored(visit.api.bulk.station_rows(bulk_id))
    page = None if rows is None or request is None else stations_page(request, rows, query)
    return visit.page(
        "bulk_one.html",
        made.trouble.status,
        bulk=command,
        page=page,
        made=made,
        wrong=wrong,
        statuses=[each.value for each in BulkStationStatus if each is not BulkStationStatus.UNKNOWN],
    )


def _made(visit: Visit, form: str, action: str) -> Form:
    fields = [field for inputs in bulk.command_fields(form, action).values() for field in inputs]
    defaults = defaults_of(NewBulkCommand, bulk.SETTINGS)
    ticks = {f"send.{part}": "1" for part in bulk.command_fields(form, action)} if form == bulk.OCPP else {}
    return Form((*fields, *_settings(visit)), entered={**defaults, **ticks})


def _settings(visit: Visit) -> tuple[FormField, ...]:
    _ = visit.words.text
    return bulk.setting_fields(
        {
            "reason": _("Reason"),
            "concurrency": _("Stations at once"),
            "stop_at_percent": _("Stop at this share of failures, in percent"),
            "stop_after": _("Look at that share after so many stations"),
            "offline": _("Stations that are offline"),
            "ttl_s": _("Seconds that the command waits for a station"),
            "call_timeout_s": _("Seconds that a charger may take to answer"),
        }
    )


def _reasons(visit: Visit) -> tuple[FormField, ...]:
    return fields_for(Steering, {"reason": visit.words.text("Reason")})


def _unfit(visit: Visit, selection: bulk.Chosen) -> str:
    """Why nobody can tell which stations are meant, "" if it is clear."""
    _ = visit.words.text
    if selection.wrong:
        return _("The filter is wrong. Choose the stations anew.")
    if selection.too_many:
        return _("More than %(most)s stations are named. Use a filter.", most=bulk.MOST_NAMED)
    return _("No station is ticked. Tick some in the list.") if selection.none else ""


def _form(
    visit: Visit, command: tuple[str, str], made: Form, preview: BulkPreview | None, digest: str = ""
) -> HTMLResponse:
    form, action = command
    selection = bulk.chosen(visit.request.query_params)
    parts = {
        part: (bulk.version_of(part).value if form == bulk.OCPP else "", inputs)
        for part, inputs in bulk.command_fields(form, action).items()
    }
    return visit.page(
        "bulk_form.html",
        made.trouble.status,
        made=made,
        selection=selection,
        action=action,
        parts=parts,
        settings=_settings(visit),
        preview=preview,
        digest=digest,
        unfit=_unfit(visit, selection),
        most=_MOST_PREVIEWED,
    )
