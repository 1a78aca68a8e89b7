"""Several commands to one charger, each after the outcome of the one before."""

from typing import Any, Final, Self

import msgspec
import orjson

from libs.events.commands import CommandConcluded, CommandDialect, Fate, RequestCommand
from libs.events.ids import new_id
from libs.events.stations import CapabilitiesLearned
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.dialect import to_fields
from libs.ocpp.semantics.encoding import encode_command
from libs.runtime.clock import SECOND, now_us
from services.api.commands.desk import Write
from services.api.context import Context
from services.api.domain.errors import Conflict, Invalid, NotFound
from services.api.domain.wish import Wish, ocpp_wish, request_command, spoken_version

_CALL_S: Final = 30.0
_MARGIN_S: Final = 2.0


class Said(msgspec.Struct, frozen=True):
    """A command and its outcome. `fate` None: there is none yet. `result`: the payload of the charger's answer."""

    command_id: str
    action: str
    fate: Fate | None
    reason: str
    result: dict[str, Any]
    error_code: str | None = None
    degraded: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the charger gave a result, be it yes or no."""
        return self.fate in (Fate.ACCEPTED, Fate.REJECTED)

    @property
    def unsupported(self) -> bool:
        """Whether the charger, or what is known of it, says that it cannot do this at all."""
        return self.error_code in ("NotImplemented", "NotSupported") or self.reason.startswith("unsupported")


class Conversation:
    """Commands to one charger within `timeout_s`: what was not sent until then never is."""

    @classmethod
    async def begin(cls, api: Context, station_id: str, *, requested_by: str, timeout_s: float) -> Self:
        """Raises NotFound for a station that nobody knows, Conflict for one that never connected, or of whose OCPP
        version this release knows nothing.
        """
        return await api.registry.surely(
            lambda: cls(api, station_id, requested_by=requested_by, timeout_s=timeout_s)
        )

    def __init__(self, api: Context, station_id: str, *, requested_by: str, timeout_s: float) -> None:
        located = api.registry.locations.get(station_id)
        if located is None and station_id not in api.registry.stations:
            raise NotFound(f"there is no station {station_id!r}, and none ever connected as that")
        if located is None:
            raise Conflict("the charger never connected, so its OCPP version is not known")
        self._api = api
        self._requested_by = requested_by
        self._ends_at = now_us() + int(timeout_s * SECOND)
        self.station_id = station_id
        self.version = spoken_version(located.version)
        self.said: list[Said] = []

    @property
    def known(self) -> CapabilitiesLearned | None:
        """What is known of the charger's abilities by now."""
        return self._api.registry.capabilities.get(self.station_id)

    def limit(self, name: str) -> int | None:
        """The number above zero that a variable of the charger has; None if it is not known."""
        known = self.known
        if known is None or known.version != self.version:
            return None
        for variable in known.variables:
            text = variable.value.strip()
            if variable.name.casefold() == name.casefold() and text.isascii() and text.isdecimal():
                return int(text[:9]) or None
        return None

    async def ask(
        self,
        command: Command,
        *,
        path: str = "",
        cause_id: str | None = None,
        command_id: str | None = None,
        write: Write | None = None,
    ) -> Said:
        """Send a version-free command and wait for its outcome; `write` as in `CommandDesk.send`.

        Raises Invalid, at `path` of the request's body, for what the charger's version cannot express.
        """
        self.check(command, path)
        wish = Wish(*to_fields(command), CommandDialect.VOLTBUS)
        return await self._send(wish, cause_id, command_id or new_id(), write)

    def check(self, command: Command, path: str) -> None:
        """Raise Invalid at `path` for what the charger's version cannot express, or its schema not hold."""
        try:
            ocpp_wish(self.version, *encode_command(self.version, command))
        except Invalid as error:
            raise Invalid(error.detail, path) from error
        except ValueError as error:
            raise Invalid(f"not possible with {self.version}: {error}", path) from error

    async def _send(self, wish: Wish, cause_id: str | None, command_id: str, write: Write | None) -> Said:
        now = now_us()
        left = max(self._ends_at - now, 1)
        request = request_command(
            self.station_id,
            wish,
            command_id,
            sealer=self._api.sealer,
            requested_by=self._requested_by,
            now=now,
            ttl_us=left,
            call_timeout_ms=int(_CALL_S * 1000),
            cause_id=cause_id,
        )
        async with self._api.desk.awaiting(request.event_id) as awaited:
            await self._api.desk.send(request, write=write)
            outcome = await awaited.outcome(left / SECOND + _MARGIN_S)
        said = _said(request, outcome)
        self.said.append(said)
        return said


def _said(request: RequestCommand, outcome: CommandConcluded | None) -> Said:
    if outcome is None:
        return Said(request.event_id, request.action, None, "there is no outcome yet", {})
    error = outcome.error
    return Said(
        request.event_id,
        request.action,
        outcome.fate,
        outcome.reason,
        _object(outcome.result),
        None if error is None else error.code,
        outcome.degraded,
    )


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
