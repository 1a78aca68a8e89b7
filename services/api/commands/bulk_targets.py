"""Whom a bulk command goes to, with what, and who is left out and why."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from libs.events.bulk import BulkMessage
from libs.events.commands import CommandDialect
from libs.ocpp.secrets import with_secrets_changed
from libs.ocpp.semantics.abilities import NOTHING_KNOWN, Abilities, abilities_of
from libs.ocpp.semantics.degradation import plan_command
from libs.ocpp.semantics.dialect import from_request
from libs.ocpp.versions import Version, known_version
from libs.runtime.clock import now_us
from services.api.context import Context
from services.api.domain.certificate_chains import SIGNED
from services.api.domain.errors import Invalid
from services.api.domain.wish import Wish, ocpp_wish, version_free_wish, version_named

NO_MESSAGE: Final = -1
NOT_CONNECTED: Final = "not connected"
_SLICE: Final = 250
"""Stations that are looked at before others have their turn."""
_MOST_SHOWN: Final = 32
_MOST_REASON: Final = 120
_MOST_REASONS: Final = 100
_OTHER: Final = "cannot be sent this"


class Message(msgspec.Struct, frozen=True):
    """What a station of `version` is sent; of any version if None."""

    version: Version | None
    wish: Wish

    @property
    def record(self) -> BulkMessage:
        """As it is recorded."""
        wish = self.wish
        payload = orjson.dumps(wish.payload).decode()
        version = "" if self.version is None else self.version.value
        return BulkMessage(action=wish.action, payload=payload, dialect=wish.dialect, version=version)


def message_of(record: BulkMessage) -> Message:
    """What was recorded."""
    wish = Wish(record.action, orjson.loads(record.payload), record.dialect)
    return Message(known_version(record.version) if record.version else None, wish)


class Target(msgspec.Struct, frozen=True):
    """A station that was chosen. `message`: which it is sent, NO_MESSAGE for none. `skipped`: why it is not asked."""

    station_id: str
    version: str
    connected: bool
    message: int
    skipped: str


def checked_messages(
    api: Context,
    command: str | None,
    payload: dict[str, Any],
    actions: Mapping[str, tuple[str, dict[str, Any]]],
) -> list[Message]:
    """What is sent: a version-free command, or the action given for each version.

    Raises Invalid with the place in the body, also for what is of one charger alone.
    """
    if command is not None:
        found: list[tuple[Version | None, str, str, dict[str, Any]]] = [(None, "", command, payload)]
    else:
        found = [
            (version_named(version), f"/actions/{version}", action, fields)
            for version, (action, fields) in actions.items()
        ]
    return [
        Message(version, _wish(api, version, action, fields, place))
        for version, place, action, fields in found
    ]


def _wish(api: Context, version: Version | None, action: str, payload: dict[str, Any], place: str) -> Wish:
    secrets: list[str] = []

    def note(secret: str) -> str:
        secrets.append(secret)
        return secret

    with_secrets_changed(action, payload, note)
    if secrets:
        raise Invalid("a password is one charger's alone: it cannot be given to many", f"{place}/payload")
    if action == SIGNED:
        raise Invalid("a certificate is one charger's alone: it cannot be sent to many", f"{place}/action")
    try:
        api.settings.url_policy.check_command(action, payload)
        return (
            version_free_wish(None, action, payload)
            if version is None
            else ocpp_wish(version, action, payload)
        )
    except Invalid as error:
        raise Invalid(error.detail, f"{place}{error.path or ''}") from error


async def targets_of(
    api: Context, station_ids: Sequence[str], messages: Sequence[Message], *, wait: bool
) -> list[Target]:
    """Each station with what it is sent; connected ones first, then by id.

    `wait`: those that are not connected are not skipped.
    """
    finder = _Finder(api, messages, wait=wait)
    found = []
    for number, station_id in enumerate(station_ids, 1):
        found.append(finder.target(station_id))
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    reasons = Counter(each.skipped for each in found)
    kept = {reason for reason, _ in reasons.most_common(_MOST_REASONS)}
    found = [
        each if each.skipped in kept else msgspec.structs.replace(each, skipped=_OTHER) for each in found
    ]
    return sorted(found, key=lambda each: (not each.connected, each.station_id))


class _Finder:
    """What is found out about one kind of charger counts for all of the kind."""

    def __init__(self, api: Context, messages: Sequence[Message], *, wait: bool) -> None:
        self._registry = api.registry
        self._messages = messages
        self._wait = wait
        self._now = now_us()
        self._known: dict[tuple[int, str, tuple[str, ...], tuple[tuple[str, str], ...]], str] = {}

    def target(self, station_id: str) -> Target:
        located = self._registry.locations.get(station_id)
        spoken = "" if located is None else located.version
        connected = located is not None and located.connected
        number, reason = self._message(spoken)
        if not reason and spoken:
            reason = self._lack(number, Version(spoken), station_id)
        if not reason and not connected and not self._wait:
            reason = NOT_CONNECTED
        return Target(station_id, spoken, connected, number, reason)

    def _message(self, spoken: str) -> tuple[int, str]:
        version = known_version(spoken) if spoken else None
        if spoken and version is None:
            return NO_MESSAGE, f"speaks {spoken[:_MOST_SHOWN]!r}, which this release does not know"
        for number, message in enumerate(self._messages):
            if message.version in (None, version):
                return number, ""
        if version is None:
            return NO_MESSAGE, "never connected: its OCPP version is not known"
        return NO_MESSAGE, f"no action is given for {version}"

    def _lack(self, number: int, version: Version, station_id: str) -> str:
        learned = self._registry.capabilities.get(station_id)
        abilities = NOTHING_KNOWN if learned is None else abilities_of(learned)
        key = (number, version.value, abilities.lacking, tuple(sorted(abilities.variables.items())))
        if key not in self._known:
            self._known[key] = _why_not(self._messages[number].wish, version, abilities, self._now)[
                :_MOST_REASON
            ]
        return self._known[key]


def _why_not(wish: Wish, version: Version, abilities: Abilities, now: int) -> str:
    if wish.dialect is CommandDialect.OCPP:
        missing = abilities.missing(version, wish.action, wish.payload)
        return "" if missing is None else f"lacks {missing}"
    try:
        command = from_request(wish.action, orjson.dumps(wish.payload).decode())
        planned = plan_command(version, command, abilities, asked_at=now)
        ocpp_wish(version, planned.action, planned.payload)
    except Invalid as error:
        return f"not possible with {version}: {error.detail}"
    except ValueError as error:
        return str(error) if abilities is not NOTHING_KNOWN else f"not possible with {version}: {error}"
    return ""
