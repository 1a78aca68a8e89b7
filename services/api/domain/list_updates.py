"""A charger's local list of tokens as the registry wants it.

Its version is the second in which it was made, counted from 2020: it grows with the registry's log, and fits into the
31 bits of OCPP until 2088.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from libs.events.registry import TokenRegistered
from libs.ocpp.semantics.commands import LocalListEntry, SendLocalList
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND

EPOCH_S: Final = 1_577_836_800
MARGIN_US: Final = 300 * SECOND
"""How far before the last list a difference begins, as clocks differ and changes are read late. Twice is no harm."""

PER_COMMAND: Final = 100
"""Entries of one command: what waits in the ledger is bounded."""

_LARGEST: Final = 2**31 - 1
_TAG_LENGTH: Final = 20  # CiString20Type of 1.6
_TOKEN_LENGTH: Final = 36  # identifierString[36] of 2.0.1


class Wanted(msgspec.Struct, frozen=True):
    """Entries of a list. `left_out`: tokens that the version cannot express."""

    entries: tuple[LocalListEntry, ...]
    left_out: int = 0


def next_version(now: int, known: int, steps: int) -> int:
    """A version with room for `steps` of them above `known`, itself the last; `now` in microseconds."""
    wanted = max(now // SECOND - EPOCH_S, known + steps)
    # A version that somebody else left at the end of the range is overcome by a full list, which may have any.
    return wanted if wanted <= _LARGEST else now // SECOND - EPOCH_S


def whole_list(version: Version, tokens: Iterable[TokenRegistered]) -> Wanted:
    """Every token."""
    entries = [_entry(version, token) for token in tokens]
    fitting = tuple(entry for entry in entries if entry is not None)
    return Wanted(fitting, len(entries) - len(fitting))


def difference(
    version: Version,
    tokens: Mapping[str, TokenRegistered],
    removed: Mapping[str, tuple[str, str]],
    since: int,
) -> Wanted:
    """What changed since a moment (microseconds). `removed`: tokens that may be gone as they were entered, and their
    types, by id."""
    changed = whole_list(version, (token for token in tokens.values() if token.recorded_at >= since))
    gone = tuple(
        LocalListEntry(written, None, kind)
        for id_token, (written, kind) in sorted(removed.items())
        if id_token not in tokens and len(id_token) <= _most(version)
    )
    return Wanted(changed.entries + gone, changed.left_out)


def updates(entries: Sequence[LocalListEntry], *, full: bool, now: int, known: int) -> list[SendLocalList]:
    """The commands that bring `entries` to a charger whose list has version `known`; the first may be a full list.

    Each has at most PER_COMMAND entries, and as many versions to itself: the ledger cuts it further, into messages that
    the charger takes, each with a version of its own up to the command's.
    """
    parts = [tuple(entries[at : at + PER_COMMAND]) for at in range(0, len(entries), PER_COMMAND)] or [()]
    last = next_version(now, known, PER_COMMAND * len(parts))
    return [
        SendLocalList(last - PER_COMMAND * (len(parts) - 1 - number), full and number == 0, part)
        for number, part in enumerate(parts)
    ]


def _most(version: Version) -> int:
    return _TOKEN_LENGTH if version.is_v2 else _TAG_LENGTH


def _entry(version: Version, token: TokenRegistered) -> LocalListEntry | None:
    most = _most(version)
    if len(token.id_token) > most:
        return None
    group = token.shown_group
    if group is not None and not 0 < len(group) <= most:
        group = None
    return LocalListEntry(
        id_token=token.shown_id,
        status=token.status.value,
        id_token_type=token.type,
        expires_at=token.valid_until,
        group_id=group,
    )
