"""From an operator's wish to the RequestCommand record, checked as far as can be known beforehand."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Final, get_args

import msgspec
import orjson
from msgspec.structs import replace

from libs.events.commands import CommandDialect, RequestCommand
from libs.events.ids import derive_id
from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES
from libs.ocpp.secrets import told_without_secrets, with_secrets_changed
from libs.ocpp.semantics.abilities import NOTHING_KNOWN
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.degradation import plan_command
from libs.ocpp.semantics.dialect import from_fields, to_fields
from libs.ocpp.versions import Version, known_version
from libs.security.sealing import Sealer, is_sealed
from services.api.domain.errors import Conflict, Invalid

_VERSION_FREE: Final = tuple(kind.__name__ for kind in get_args(Command))
_MOST_SHOWN: Final = 32
_MSGSPEC_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")


class Wish(msgspec.Struct, frozen=True):
    """What is wanted of a charger: an action of its version, or a version-free command. `payload`: a JSON object."""

    action: str
    payload: Mapping[str, Any]
    dialect: CommandDialect


def ocpp_wish(version: Version, action: str, payload: dict[str, Any]) -> Wish:
    """An action with its payload as OCPP has it. Raises Invalid if the version's schema does not allow it."""
    routes = ROUTES[version]
    if action not in routes or not routes[action].to_station:
        raise Invalid(_no_such_action(version, action), "/action")
    violation = schemas.validate(version, action, "request", payload)
    if violation is not None:
        # What is wrong is told with the value that is wrong.
        told = told_without_secrets(action, payload)
        violation = schemas.validate(version, action, "request", told) or replace(
            violation, message="not allowed"
        )
        raise Invalid(f"{action} of {version}: {violation.message}", f"/payload{violation.path}")
    return Wish(action, payload, CommandDialect.OCPP)


def version_free_wish(version: Version | None, command: str, payload: dict[str, Any]) -> Wish:
    """A version-free command, complete with its defaults.

    Raises Invalid if there is no such command, its fields do not fit, or `version` cannot express it.
    """
    if command not in _VERSION_FREE:
        raise Invalid(f"{command} is none of {', '.join(_VERSION_FREE)}", "/command")
    try:
        wanted = from_fields(command, payload)
    except ValueError as error:
        found = _MSGSPEC_PATH.search(str(error))
        field = "" if found is None else "/" + found[1].replace(".", "/")
        raise Invalid(f"{command}: {_MSGSPEC_PATH.sub('', str(error))}", f"/payload{field}") from error
    if version is not None:
        try:
            planned = plan_command(version, wanted, NOTHING_KNOWN)
            ocpp_wish(version, planned.action, planned.payload)
        except ValueError as error:
            raise Invalid(f"{command} of {version}: {error}", "/payload") from error
        except Invalid as error:
            raise Invalid(error.detail, "/payload") from error
    return Wish(*to_fields(wanted), CommandDialect.VOLTBUS)


def request_command(
    station_id: str,
    wish: Wish,
    command_id: str,
    *,
    sealer: Sealer | None,
    requested_by: str,
    now: int,
    ttl_us: int,
    call_timeout_ms: int,
    cause_id: str | None = None,
) -> RequestCommand:
    """The record that asks for the wish, with the station's passwords sealed: nobody who reads the log shall know them.

    `cause_id`: the command itself by default. Raises Conflict if there are passwords and nothing to seal them with.
    """

    def sealed(secret: str) -> str:
        if is_sealed(secret):
            return secret
        if sealer is None:
            raise Conflict(
                "passwords go to chargers only sealed: set VOLTBUS_SECRETS_KEY here and at the edges"
            )
        return sealer.seal(secret, station_id)

    payload = with_secrets_changed(wish.action, wish.payload, sealed)
    return RequestCommand(
        event_id=command_id,
        occurred_at=now,
        recorded_at=now,
        cause_id=cause_id or command_id,
        station_id=station_id,
        action=wish.action,
        payload=orjson.dumps(payload).decode(),
        dialect=wish.dialect,
        requested_by=requested_by,
        expires_at=now + ttl_us,
        call_timeout_ms=call_timeout_ms,
    )


def repeatable_id(scope: str, key: str) -> str:
    """The id of what is asked for under an `Idempotency-Key`: the same scope and key always give the same.

    A scope names the operator whose key it is: that of another is another.
    """
    return derive_id(f"api:{scope}", key)


def wish_digest(wish: Wish) -> str:
    """What tells one wish from another; passwords do not count, so that nobody can guess them by it."""
    payload = with_secrets_changed(wish.action, wish.payload, lambda _: "")
    content = [wish.dialect.value, wish.action, payload]
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def version_named(text: str) -> Version:
    """The OCPP version written as `ocpp1.6` or `1.6`. Raises ValueError for another."""
    return Version(text if text.startswith("ocpp") else f"ocpp{text}")


def spoken_version(recorded: str) -> Version:
    """The OCPP version that a connection was recorded with. Raises Conflict for one that only a newer release knows."""
    version = known_version(recorded)
    if version is None:
        raise Conflict(
            f"the charger speaks {recorded[:_MOST_SHOWN]!r}, which this release of the platform does not know"
        )
    return version


def _no_such_action(version: Version, action: str) -> str:
    known = sorted(name for name, route in ROUTES[version].items() if route.to_station)
    if action in ROUTES[version]:
        return f"{action} is sent by chargers, not to them"
    near = get_close_matches(action, known, 3, 0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(known)}"
    return f"a charger of {version} takes no {action}{hint}"
