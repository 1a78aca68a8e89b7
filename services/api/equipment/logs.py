"""Logs of chargers: asked for, and how their uploads go."""

from typing import Annotated

from pydantic import Field, StringConstraints

from libs.access.roles import Permission
from libs.events.ids import new_id
from libs.ocpp.semantics.commands import GetLog, LogKind
from libs.runtime.clock import micros
from services.api.commands.conversation import Conversation
from services.api.context import Api, Requester
from services.api.domain.command_status import status_of
from services.api.domain.log_uploads import joined, number_of
from services.api.equipment.said import CommandSaid, Timeout, said_of
from services.api.http.fields import Folded, Input, Moment, Output, Time
from services.api.http.permissions import needs
from services.api.http.routing import routes

router = routes("equipment")

_LAST = 50


class LogWish(Input):
    """A log to be uploaded to a URL that operators allow (VOLTBUS_URL_SCHEMES, _HOSTS, _NETWORKS)."""

    location: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(
        examples=["https://logs.example.com/upload/"]
    )
    log: LogKind = "diagnostics"
    oldest: Moment | None = None
    latest: Moment | None = None
    timeout_s: Timeout = 60


class LogAsked(Output):
    """A request for a log, and the charger's word. `filename`: what it will be called, if the charger says so."""

    station_id: str
    request_id: int
    filename: str | None
    command: CommandSaid


class LogUpload(Output):
    """What the charger said of an upload."""

    status: str
    at: Time


class LogRequested(Output):
    """A request for a log. `uploads`: the status notifications that belong to it, in order."""

    command_id: str
    request_id: int | None
    log: str
    location: str
    requested_at: Time
    requested_by: str
    status: str
    reason: str
    filename: str | None
    uploads: list[LogUpload]


class LogsRequested(Output):
    """The last requests for logs of a charger, the latest first."""

    items: list[LogRequested]


@router.post("/stations/{station_id}/logs", dependencies=needs(Permission.COMMAND_READ))
async def ask_for_log(api: Api, requester: Requester, station_id: Folded, body: LogWish) -> LogAsked:
    """Have a charger upload a log: GetLog, or GetDiagnostics where a 1.6 charger has no other."""
    api.settings.url_policy.check(body.location, "/location")
    talk = await Conversation.begin(api, station_id, requested_by=requester, timeout_s=body.timeout_s)
    command_id = new_id()
    command = GetLog(
        body.log,
        body.location,
        number_of(command_id),
        None if body.oldest is None else micros(body.oldest),
        None if body.latest is None else micros(body.latest),
    )
    said = await talk.ask(command, path="/location", command_id=command_id)
    filename = said.result.get("filename", said.result.get("fileName"))
    return LogAsked(
        station_id=station_id,
        request_id=command.request_id,
        filename=None if filename is None else str(filename),
        command=said_of(said),
    )


@router.get("/stations/{station_id}/logs", dependencies=needs(Permission.READ))
async def list_logs(api: Api, station_id: Folded) -> LogsRequested:
    """The last requests for logs, and what the charger said of each upload."""
    asked = {"station_id": station_id, "last": _LAST}
    commands = await api.reader.rows(
        "SELECT command_id, payload, requested_at, requested_by, fate, reason, result FROM commands"
        " WHERE station_id = %(station_id)s AND action IN ('GetLog', 'GetDiagnostics')"
        " ORDER BY requested_at DESC LIMIT %(last)s",
        asked,
    )
    notifications = await api.reader.rows(
        "SELECT recorded_at, payload FROM ocpp_lifecycle WHERE station_id = %(station_id)s"
        " AND _type = 'OcppCallReceived'"
        " AND action IN ('LogStatusNotification', 'DiagnosticsStatusNotification')"
        " AND recorded_at >= fromUnixTimestamp64Micro(%(since)s, 'UTC')"
        " ORDER BY recorded_at, _offset LIMIT 1 BY event_id LIMIT 10000",
        {**asked, "since": min((micros(row["requested_at"]) for row in commands), default=0)},
    )
    return LogsRequested(
        items=[
            LogRequested(
                command_id=each.command_id,
                request_id=each.request_id,
                log=each.log,
                location=each.location,
                requested_at=each.requested_at,
                requested_by=each.requested_by,
                status=status_of(each.fate),
                reason=each.reason,
                filename=each.filename,
                uploads=[LogUpload(status=upload.status, at=upload.at) for upload in each.uploads],
            )
            for each in joined(commands, notifications)
        ]
    )
