"""Changes of a station's password: set here, or handed to the station and then settled by its answer."""

import asyncio
import secrets
import string
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from libs.events.commands import CommandConcluded, Fate, RequestCommand
from libs.events.registry import CredentialsRegistered, PasswordDigest
from libs.events.topics import REGISTRY_CREDENTIALS
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.passwords import SALT_BYTES
from libs.runtime.logging import get_logger
from services.api.commands.desk import CommandDesk
from services.api.domain.credentials import begun, kept, settled, with_passwords
from services.api.domain.errors import NotFound
from services.api.domain.renewal import Stamp, removal
from services.api.registry.changes import Written
from services.api.registry.table import Registry

log = get_logger(__name__)

_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 20
_MARGIN_S: Final = 60.0
_REFUSALS: Final = frozenset(
    {"rejected", "notsupported", "unknowncomponent", "unknownvariable", "notsupportedattributetype"}
)
"""What a station says that goes on with its old password (ChangeConfiguration, SetVariables)."""


def generated() -> str:
    """A password that every version and every station can take: 119 random bits in 20 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


class Change(msgspec.Struct, frozen=True):
    """A change under way: the record that began it, and the task that ends with the command's outcome."""

    record: CredentialsRegistered
    task: "asyncio.Task[CommandConcluded | None]"


class Passwords:
    """The passwords of the stations in `registry`."""

    def __init__(self, registry: Registry, desk: CommandDesk) -> None:
        self._registry = registry
        self._desk = desk
        self._tasks: set[asyncio.Task[Any]] = set()

    async def put(self, station_id: str, password: bytes, author: str) -> CredentialsRegistered:
        """From now on only this password is accepted. Raises NotFound, BusUnavailableError."""
        new = _kept(password)
        record = await self._begin(
            station_id, lambda _, stamp: with_passwords(station_id, stamp, new), author
        )
        log.info("password_set", station_id=station_id, changed_by=author)
        return record

    async def remove(self, station_id: str, author: str) -> None:
        """From now on no password is accepted. Raises BusUnavailableError."""
        registry = self._registry

        def decide() -> Written:
            old = registry.credentials.get(station_id)
            return {} if old is None else {REGISTRY_CREDENTIALS: removal(old, registry.stamp(author))}

        await registry.change(REGISTRY_CREDENTIALS, station_id, decide)
        log.info("password_removed", station_id=station_id, changed_by=author)

    async def rotate(self, station_id: str, password: bytes, request: RequestCommand) -> Change:
        """Accept the password beside the old one, and send the command that gives it to the station.

        Once the station has accepted it the old one is refused; if it did not, the new one. Both stay if nobody
        knows, or if it takes the new one only after a restart. Raises NotFound, Conflict or BusUnavailableError.
        """
        new = _kept(password)
        record = await self._begin(
            station_id, lambda old, stamp: begun(old, station_id, new, stamp), request.requested_by
        )
        sent = asyncio.Event()
        task = asyncio.create_task(self._follow(station_id, new, request, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        waiting = asyncio.create_task(sent.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not sent.is_set():
            task.result()
        return Change(record, task)

    async def settle(self, station_id: str, new: PasswordDigest, took: bool, author: str) -> None:
        """End a change. Raises BusUnavailableError."""
        registry = self._registry

        def decide() -> Written:
            current = registry.credentials.get(station_id)
            left = settled(current, new, took, registry.stamp(author))
            return {} if left is current else {REGISTRY_CREDENTIALS: left}

        await registry.change(REGISTRY_CREDENTIALS, station_id, decide)
        log.info("password_settled", station_id=station_id, took=took)

    async def _begin(
        self,
        station_id: str,
        make: Callable[[CredentialsRegistered | None, Stamp], CredentialsRegistered],
        author: str,
    ) -> CredentialsRegistered:
        """Write what `make` makes of the record that is there. Raises NotFound for a station that is not registered."""
        registry = self._registry
        made: list[CredentialsRegistered] = []

        def decide() -> Written:
            if station_id not in registry.stations:
                raise NotFound(f"there is no station {station_id!r}")
            made[:] = [make(registry.credentials.get(station_id), registry.stamp(author))]
            return {REGISTRY_CREDENTIALS: made[0]}

        await registry.change(REGISTRY_CREDENTIALS, station_id, decide)
        return made[0]

    async def _follow(
        self, station_id: str, new: PasswordDigest, request: RequestCommand, sent: asyncio.Event
    ) -> CommandConcluded | None:
        longest_s = (request.expires_at - request.recorded_at) / 1e6 + request.call_timeout_ms / 1000
        async with self._desk.awaiting(request.event_id) as awaited:
            await self._desk.send(request)
            sent.set()
            outcome = await awaited.outcome(longest_s + _MARGIN_S)
        took = None if outcome is None else took_password(outcome)
        if took is None:
            log.warning("password_not_settled", station_id=station_id, command_id=request.event_id)
        else:
            await self.settle(station_id, new, took, request.requested_by)
        return outcome


def _kept(password: bytes) -> PasswordDigest:
    return kept(password, secrets.token_hex(SALT_BYTES))


def took_password(outcome: CommandConcluded) -> bool | None:
    """Whether the station has the new password; None if that is not known, or not yet so.

    An answer in words that the versions do not have proves nothing, whatever the command's fate; nor does one that
    could not be read at all.
    """
    if outcome.fate is Fate.UNKNOWN:
        return None
    if outcome.error is not None:
        return None if outcome.error.details == UNUSABLE_ANSWER else False
    if outcome.result is None:
        return False
    statuses = _statuses(outcome.result)
    if statuses == {"accepted"}:
        return True
    return False if statuses and statuses <= _REFUSALS else None


def _statuses(text: str) -> set[str]:
    """Of a result, or of each variable in it, in lower case; empty for what cannot be read."""
    try:
        result = orjson.loads(text)
        items = result.get("setVariableResult", result)
        each = items if isinstance(items, list) else [items]
        return {item.get("attributeStatus", item.get("status")).strip().casefold() for item in each}
    except (orjson.JSONDecodeError, AttributeError):
        return set()
