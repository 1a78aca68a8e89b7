"""Bringing a charger's local list in line with the registry."""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from libs.clickhouse.client import ClickHouseError
from libs.events.ids import derive_id, new_id
from libs.ocpp.semantics.commands import GetLocalListVersion, SendLocalList
from libs.runtime.clock import SECOND, micros, now_us
from libs.runtime.logging import get_logger
from services.api.commands.conversation import Conversation, Said
from services.api.context import Context
from services.api.domain.list_updates import MARGIN_US, Wanted, difference, updates, whole_list

log = get_logger(__name__)

_RECENT_US: Final = 60 * SECOND
"""Removals that ClickHouse may not know yet."""

Outcome = Literal["up_to_date", "differential", "full", "not_supported", "too_long", "failed", "unanswered"]


class Synced(msgspec.Struct, frozen=True):
    """What was done. `version_before`: of the charger's list; `sent`: entries; `left_out`: see `Wanted`."""

    outcome: Outcome
    why: str
    version_before: int | None = None
    version: int | None = None
    sent: int = 0
    left_out: int = 0


class LocalListSync:
    """One charger's list. Nothing is remembered here: the charger knows the version of its list, the log of commands
    which of them were sent from here and when.
    """

    def __init__(self, api: Context, talk: Conversation) -> None:
        self._api = api
        self._talk = talk

    async def run(self, *, full: bool) -> Synced:
        """Send what is missing; all of it if `full`, or if nobody knows what the charger has.

        The last command of a list is its own cause, the others are caused by it: so the log tells whole lists from
        half ones.
        """
        said = await self._talk.ask(GetLocalListVersion())
        if not said.answered:
            return _unanswered(said)
        known = said.result.get("versionNumber" if self._talk.version.is_v2 else "listVersion")
        if not isinstance(known, int) or known < 0:
            return Synced("not_supported", "the charger has no local list")
        why = "a full list was asked for"
        if not full:
            since = await self._sent_at(known)
            if since is not None:
                done = await self._send_difference(known, since)
                if done.outcome not in ("failed",):
                    return done
                why = done.why
            else:
                why = "the charger has no list" if known == 0 else "its list is none that was sent from here"
        return await self._send_full(known, why)

    async def _send_difference(self, known: int, since: int) -> Synced:
        version = self._talk.version
        removed = await self._removed(since)
        # In a thread, on a copy: there may be hundreds of thousands.
        wanted = await asyncio.to_thread(difference, version, dict(self._api.registry.tokens), removed, since)
        if not wanted.entries:
            return Synced("up_to_date", "nothing changed since then", known, known, 0, wanted.left_out)
        return await self._send(wanted, False, known, "what changed since its last list")

    async def _send_full(self, known: int, why: str) -> Synced:
        tokens = list(self._api.registry.tokens.values())
        wanted = await asyncio.to_thread(whole_list, self._talk.version, tokens)
        most = None if self._talk.version.is_v2 else self._talk.limit("LocalAuthListMaxLength")
        if most is not None and len(wanted.entries) > most:
            why = f"the charger's list takes {most} tokens, the registry has {len(wanted.entries)}"
            return Synced("too_long", why, known, None, 0, wanted.left_out)
        return await self._send(wanted, True, known, why)

    async def _send(self, wanted: Wanted, full: bool, known: int, why: str) -> Synced:
        parts = updates(wanted.entries, full=full, now=now_us(), known=known)
        said = await self._send_parts(parts)
        version = parts[-1].list_version
        status = str(said.result.get("status", ""))
        if status == "Accepted":
            return Synced(
                "full" if full else "differential", why, known, version, len(wanted.entries), wanted.left_out
            )
        if status == "NotSupported":
            return Synced("not_supported", "the charger has no local list", known)
        if not said.answered:
            return _unanswered(said, known)
        return Synced("failed", f"the charger's word: {status}", known, None, 0, wanted.left_out)

    async def _send_parts(self, parts: Sequence[SendLocalList]) -> Said:
        last_id = new_id()
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            command_id = last_id if last else derive_id(last_id, f"part:{number}")
            said = await self._talk.ask(part, command_id=command_id, cause_id=last_id)
            if last or said.result.get("status") != "Accepted":
                break
        return said

    async def _sent_at(self, version: int) -> int | None:
        """When the list with this version was sent from here, whole and accepted; None if it was not."""
        if version == 0:
            return None
        try:
            rows = await self._api.reader.rows(
                "SELECT max(recorded_at) AS at, count() AS found FROM commands_requested"
                " WHERE station_id = %(id)s AND action = 'SendLocalList' AND event_id = cause_id"
                " AND JSONExtractInt(payload, 'list_version') = %(version)s AND event_id IN"
                " (SELECT command_id FROM commands_outcomes WHERE station_id = %(id)s"
                " AND action = 'SendLocalList' AND fate = 'ACCEPTED')",
                {"id": self._talk.station_id, "version": version},
            )
        except ClickHouseError as error:
            # A full list needs no history.
            log.warning("local_list_history_unreadable", error=str(error)[:300])
            return None
        return micros(rows[0]["at"]) - MARGIN_US if rows[0]["found"] else None

    async def _removed(self, since: int) -> dict[str, tuple[str, str]]:
        """Tokens that were removed since a moment, as they were entered, and their types, by id; some may be back."""
        lately = now_us() - _RECENT_US
        recent = [id_token for id_token, at in self._api.registry.removed_tokens.items() if at >= lately]
        rows = await self._api.reader.rows(
            "SELECT id_token, argMaxIf(CAST(type, 'String'), _offset, NOT _deleted AND type != '') AS kind,"
            " argMaxIf(written, _offset, NOT _deleted AND type != '') AS form"
            " FROM registry_tokens WHERE id_token IN (SELECT id_token FROM registry_tokens"
            " WHERE _deleted AND _timestamp >= fromUnixTimestamp64Micro(%(since)s, 'UTC'))"
            " OR id_token IN %(recent)s GROUP BY id_token",
            {"since": since, "recent": recent or [""]},
        )
        removed = {id_token: (id_token, "ISO14443") for id_token in recent}
        return removed | {
            row["id_token"]: (row["form"] or row["id_token"], row["kind"] or "ISO14443") for row in rows
        }


def _unanswered(said: Said, known: int | None = None) -> Synced:
    if said.unsupported:
        return Synced("not_supported", said.reason, known)
    return Synced("unanswered", said.reason, known)
