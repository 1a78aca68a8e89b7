"""Commands to chargers, and their fates."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import orjson
from fastapi import Header, Response, status
from pydantic import BaseModel, Field, StringConstraints, model_validator

from libs.access.command_classes import permission_of
from libs.access.roles import Permission
from libs.clickhouse.client import ClickHouseError
from libs.events.commands import TOO_MANY_WAITING, CommandConcluded, Fate, RequestCommand
from libs.events.ids import new_id
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from services.api.commands.stored import stored_command
from services.api.context import Api, Context, Requester
from services.api.domain.certificate_chains import SIGNED, check_signed
from services.api.domain.command_status import PENDING, CommandStatus, status_of
from services.api.domain.errors import Conflict, Invalid, NotFound, TooMany
from services.api.domain.wish import (
    Wish,
    ocpp_wish,
    repeatable_id,
    request_command,
    spoken_version,
    version_free_wish,
    version_named,
    wish_digest,
)
from services.api.http.fields import Folded, IdempotencyKey, Input, Output, Time
from services.api.http.permissions import Permitted, needs
from services.api.http.routing import location, routes

log = get_logger(__name__)

router = routes("commands")

MAX_WAIT_S = 60
MAX_TTL_S = 7 * 24 * 3600

Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]


class CommandWish(Input):
    """A central-system action of the charger's OCPP version, or a version-free command."""

    action: Word | None = Field(None, description="As OCPP names it.", examples=["RemoteStartTransaction"])
    command: Word | None = Field(
        None,
        description="Instead of an action: a version-free command: SetLimit, RemoteStart, GetVariables, GetLog ...",
    )
    payload: dict[str, Any] = Field(default_factory=dict)
    version: Literal["1.6", "2.0.1", "2.1", "ocpp1.6", "ocpp2.0.1", "ocpp2.1"] | None = Field(
        None, description="Needed only for a charger that never connected."
    )
    ttl_s: Annotated[float, Field(gt=0, le=MAX_TTL_S, allow_inf_nan=False)] = Field(
        60, description="How long an offline charger is waited for."
    )
    wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = Field(
        0, description="How long this request waits for the outcome."
    )
    call_timeout_s: Annotated[float, Field(ge=1, le=600, allow_inf_nan=False)] = Field(
        30, description="How long the charger may take to answer."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.action is None) == (self.command is None):
            raise ValueError("either action or command")
        return self


class CallError(Output):
    """The charger's CALLERROR."""

    code: str
    description: str = ""


class Command(Output):
    """A command and what became of it. `result`: the payload of the charger's answer."""

    command_id: str
    station_id: str
    action: str
    dialect: str
    payload: Any = None
    status: CommandStatus
    reason: str = ""
    result: Any = None
    error: CallError | None = None
    attempts: int = 0
    requested_by: str
    requested_at: Time
    expires_at: Time | None = None
    concluded_at: Time | None = None


_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class CommandHeaders(BaseModel):
    """Headers of a command. `traceparent`: W3C trace context; anything else there is ignored."""

    idempotency_key: IdempotencyKey = None
    traceparent: str | None = None

    @property
    def trace(self) -> str | None:
        """The trace context, if it is one."""
        return self.traceparent if self.traceparent and _TRACEPARENT.fullmatch(self.traceparent) else None


@router.post(
    "/stations/{station_id}/commands",
    dependencies=needs(Permission.COMMAND_READ),
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Command, "description": "With `wait_s`: the outcome came in time."}},
)
async def send_command(
    *,
    api: Api,
    response: Response,
    requester: Requester,
    must: Permitted,
    station_id: Folded,
    body: CommandWish,
    headers: Annotated[CommandHeaders, Header()],
) -> Command:
    """Send a command: 202 once it is durable, or with `wait_s` 200 with its outcome if that comes in time.

    A 422 says where the payload breaks the schema of the charger's OCPP version. A 503 leaves open whether the
    command was taken: repeat it with the same `Idempotency-Key`. With `wait_s` a 429 says that too many wait for the
    charger: this one has failed. What the command needs besides `command_read` depends on it: `command_session` if it
    helps one driver, `command_disruptive` if others notice it, `command_security` if it touches credentials,
    certificates or firmware (403).
    """
    must(permission_of(body.action or body.command or "", body.payload))
    wish = await api.registry.surely(lambda: _wish(api, station_id, body))
    key, command_id = headers.idempotency_key, new_id()
    if key is not None:
        key = repeatable_id(f"command:{requester}:{station_id}", key)
        # By what is wanted, too: what is answered for an id is what was, or will be, sent under it.
        command_id = repeatable_id(key, wish_digest(wish))
    wanted = request_command(
        station_id,
        wish,
        command_id,
        sealer=api.sealer,
        requested_by=requester,
        now=now_us(),
        ttl_us=int(body.ttl_s * SECOND),
        call_timeout_ms=int(body.call_timeout_s * 1000),
    )
    async with api.desk.awaiting(command_id) as awaited:
        await api.desk.send(wanted, headers.trace, key=key)
        response.headers["Location"] = location("commands", command_id)
        known = await _settled_before(api, command_id) if key is not None else None
        if known is not None:
            response.status_code = status.HTTP_200_OK
            return known
        outcome = await awaited.outcome(body.wait_s) if body.wait_s > 0 else None
    if outcome is not None:
        if outcome.fate is Fate.FAILED and outcome.reason.startswith(TOO_MANY_WAITING):
            raise TooMany(outcome.reason)
        response.status_code = status.HTTP_200_OK
    return _of_records(api.desk.request(command_id) or wanted, outcome)


@router.get("/commands/{command_id}", dependencies=needs(Permission.READ, personal=True))
async def get_command(api: Api, command_id: UUID) -> Command:
    """A command and its fate; status PENDING while there is none."""
    key = str(command_id)
    sent, outcome = api.desk.request(key), api.desk.outcome(key)
    if any(each is not None and not api.scope.sees_station(each.station_id) for each in (sent, outcome)):
        raise _no_command(key)
    if sent is not None:
        return _of_records(sent, outcome)
    row = None
    try:
        row = await stored_command(api.reader, key)
    except ClickHouseError:
        if outcome is None:
            raise
    if row is not None and (row["fate"] is not None or outcome is None):
        return _of_row(row)
    if outcome is None:
        raise _no_command(key)
    return _of_records(None, outcome)


def _no_command(key: str) -> NotFound:
    return NotFound(f"there is no command {key}")


def _wish(api: Context, station_id: str, body: CommandWish) -> Wish:
    located = api.registry.locations.get(station_id)
    if located is None and station_id not in api.registry.stations:
        raise NotFound(f"there is no station {station_id!r}, and none ever connected as that")
    version = None if body.version is None else version_named(body.version)
    if located is not None:
        spoken = spoken_version(located.version)
        if version not in (None, spoken):
            raise Conflict(f"the charger speaks {spoken}, not {version}", "/version")
        version = spoken
    action = body.action or body.command or ""
    api.settings.url_policy.check_command(action, body.payload)
    if action == SIGNED:
        check_signed(body.payload, api.registry.owners(api.settings.tls_operator)(station_id))
    if body.command is not None:
        return version_free_wish(version, body.command, body.payload)
    if body.action is None:
        raise Invalid("either action or command", "/action")
    if version is None:
        raise Conflict(
            "the charger never connected, so its OCPP version is not known: give `version`", "/version"
        )
    return ocpp_wish(version, body.action, body.payload)


async def _settled_before(api: Context, command_id: str) -> Command | None:
    """The outcome of a command that was asked for before, perhaps of another process."""
    if api.desk.outcome(command_id) is not None:
        return await get_command(api, UUID(command_id))
    try:
        row = await stored_command(api.reader, command_id)
    except ClickHouseError as error:
        log.warning("idempotency_not_checked_in_history", command_id=command_id, error=str(error)[:300])
        return None
    return None if row is None or row["fate"] is None else _of_row(row)


def _of_records(request: RequestCommand | None, outcome: CommandConcluded | None) -> Command:
    fields: dict[str, Any] = {"status": PENDING}
    if outcome is not None:
        fields |= {
            "command_id": outcome.command_id,
            "station_id": outcome.station_id,
            "action": outcome.action,
            "dialect": outcome.dialect.value,
            "status": status_of(outcome.fate),
            "reason": outcome.reason,
            "result": _json(outcome.result),
            "error": outcome.error,
            "attempts": outcome.attempts,
            "requested_by": outcome.requested_by,
            "requested_at": outcome.requested_at,
            "concluded_at": outcome.recorded_at,
        }
    if request is not None:
        fields |= {
            "command_id": request.event_id,
            "station_id": request.station_id,
            "action": request.action,
            "dialect": request.dialect.value,
            "payload": _json(request.payload),
            "requested_by": request.requested_by,
            "requested_at": request.recorded_at,
            "expires_at": request.expires_at,
        }
    return Command.model_validate(fields)


def _of_row(row: Mapping[str, Any]) -> Command:
    error = None
    if row["error_code"]:
        error = {"code": row["error_code"], "description": row["error_description"] or ""}
    return Command.model_validate(
        {
            **row,
            "payload": _json(row["payload"]),
            "status": status_of(row["fate"]),
            "result": _json(row["result"]),
            "error": error,
        }
    )


def _json(text: str | None) -> Any:
    """The value that the JSON text stands for; the text itself if it is none, as a charger sent it."""
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
