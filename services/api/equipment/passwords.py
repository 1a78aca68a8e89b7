"""Passwords of stations. None is ever shown but one that was made here, once."""

import asyncio
from typing import Annotated, Literal

from fastapi import Response, status
from pydantic import Field, SecretStr

from libs.access.roles import Permission
from libs.events.commands import CommandConcluded
from libs.events.ids import new_id
from libs.events.registry import CredentialsRegistered
from libs.ocpp.passwords import password_command
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND, now_us
from services.api.commands.routes import MAX_TTL_S, MAX_WAIT_S
from services.api.context import Api, Context, Requester
from services.api.domain.command_status import status_of
from services.api.domain.credentials import password_of
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.wish import ocpp_wish, request_command, spoken_version, version_named
from services.api.equipment.password_changes import generated
from services.api.http.fields import Folded, Input, Output, Time
from services.api.http.permissions import needs
from services.api.http.routing import routes

router = routes("stations")


class NewPassword(Input):
    """A password of 16 to 40 bytes (1.6: to 20). Neither field: one is made."""

    password: SecretStr | None = Field(
        None,
        description="As text. 32 to 40 hex digits are taken for the 16 to 20 bytes that they write, as by"
        " `password_hex`: the charger may send either.",
    )
    password_hex: SecretStr | None = Field(
        None,
        description="As hex digits, two for each byte, as 1.6 configures it (AuthorizationKey).",
    )

    @property
    def value(self) -> bytes | None:
        """The password that is given. Raises Invalid."""
        return password_of(_told(self.password), _told(self.password_hex))


class Rotation(NewPassword):
    """A password to be given to the station."""

    version: Literal["1.6", "2.0.1", "2.1"] | None = Field(
        None, description="Needed only for a charger that never connected."
    )
    ttl_s: Annotated[float, Field(gt=0, le=MAX_TTL_S, allow_inf_nan=False)] = 60
    wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = 0


class Settlement(Input):
    """Which of two passwords stays."""

    keep: Literal["old", "new"]


class Password(Output):
    """How a station's password stands. `accepted`: how many are; two while a change is not settled.

    `password`: one that was made now; nobody can see it again.
    """

    station_id: str
    accepted: int
    updated_at: Time
    changed_by: str = ""
    password: str | None = None


class RotationState(Output):
    """A change of a password. `status`: that of the command; both passwords stay if it is UNKNOWN or PENDING."""

    station_id: str
    command_id: str
    status: str
    reason: str = ""
    accepted: int


@router.get("/stations/{station_id}/password", dependencies=needs(Permission.READ))
async def get_password(api: Api, station_id: Folded) -> Password:
    """Whether a password is set."""
    return _shown(_existing(api, station_id))


@router.put(
    "/stations/{station_id}/password",
    dependencies=needs(Permission.COMMAND_SECURITY),
    response_model_exclude_none=True,
)
async def put_password(api: Api, station_id: Folded, body: NewPassword) -> Password:
    """Accept this password and no other; a connection that was opened with another one is closed.

    The station is not told: see `rotate`.
    """
    await api.registry.surely(lambda: _registered(api, station_id))
    given = body.value
    made = generated() if given is None else None
    record = await api.passwords.put(
        station_id, given if given is not None else str(made).encode(), api.requester
    )
    shown = _shown(record)
    shown.password = made
    return shown


@router.delete(
    "/stations/{station_id}/password",
    dependencies=needs(Permission.COMMAND_SECURITY),
    status_code=status.HTTP_204_NO_CONTENT,
)
async def delete_password(api: Api, station_id: Folded) -> None:
    """Accept no password any more; a connection that was opened with one is closed."""
    _existing(api, station_id)
    await api.passwords.remove(station_id, api.requester)


@router.post(
    "/stations/{station_id}/password/rotate",
    dependencies=needs(Permission.COMMAND_SECURITY),
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": RotationState, "description": "With `wait_s`: the outcome came in time."}},
)
async def rotate_password(
    api: Api, response: Response, requester: Requester, station_id: Folded, body: Rotation
) -> RotationState:
    """Give the station a new password. The old one is refused once the station has accepted it.

    If it did not take it, the new one is dropped. If nobody knows, both stay until `settle`.
    """
    await api.registry.surely(lambda: _registered(api, station_id))
    password = body.value
    if password is None:
        password = generated().encode()
    version = await api.registry.surely(lambda: _version(api, station_id, body))
    text = _told(body.password)
    # 2.x is given the text itself, also where it is hex digits.
    sent = text.encode() if text is not None and version.is_v2 else password
    try:
        action, payload = password_command(version, sent)
    except ValueError as error:
        raise Invalid(str(error), "/password" if body.password_hex is None else "/password_hex") from error
    wish = ocpp_wish(version, action, payload)
    request = request_command(
        station_id,
        wish,
        new_id(),
        sealer=api.sealer,
        requested_by=requester,
        now=now_us(),
        ttl_us=int(body.ttl_s * SECOND),
        call_timeout_ms=30_000,
    )
    change = await api.passwords.rotate(station_id, password, request)
    outcome: CommandConcluded | None = None
    done, _ = await asyncio.wait({change.task}, timeout=body.wait_s)
    if done:
        outcome = change.task.result()
        response.status_code = status.HTTP_200_OK
    current = api.registry.credentials.get(station_id)
    return RotationState(
        station_id=station_id,
        command_id=request.event_id,
        status=status_of(None if outcome is None else outcome.fate),
        reason="" if outcome is None else outcome.reason,
        accepted=0 if current is None else len(current.passwords),
    )


@router.post("/stations/{station_id}/password/settle", dependencies=needs(Permission.COMMAND_SECURITY))
async def settle_password(api: Api, station_id: Folded, body: Settlement) -> Password:
    """Decide a change that nobody knows the end of."""
    record = _existing(api, station_id)
    if len(record.passwords) < 2:
        raise Conflict("there is no change to settle")
    await api.passwords.settle(station_id, record.passwords[-1], body.keep == "new", api.requester)
    return _shown(_existing(api, station_id))


def _registered(api: Context, station_id: str) -> None:
    if station_id not in api.registry.stations:
        raise NotFound(f"there is no station {station_id!r}")


def _existing(api: Context, station_id: str) -> CredentialsRegistered:
    record = api.registry.credentials.get(station_id)
    if record is None:
        raise NotFound(f"no password is set for a station {station_id!r}")
    return record


def _version(api: Context, station_id: str, body: Rotation) -> Version:
    located = api.registry.locations.get(station_id)
    if located is not None:
        return spoken_version(located.version)
    if body.version is None:
        raise Conflict(
            "the charger never connected, so its OCPP version is not known: give `version`", "/version"
        )
    return version_named(body.version)


def _shown(record: CredentialsRegistered) -> Password:
    fields = {
        "accepted": len(record.passwords),
        "updated_at": record.recorded_at,
        "changed_by": record.changed_by,
    }
    return Password.model_validate({"station_id": record.station_id, **fields})


def _told(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
