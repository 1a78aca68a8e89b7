"""Older sessions, remembered by id and times only, so that repeated messages do not reopen them. Pure; packed bytes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct
from typing import Final

from libs.ocpp.semantics.model import TransactionStep
from services.sessions.domain.session import Session

MOST: Final = 64

_ENTRY: Final = Struct("<Qqqq?")
"""Hash of the transaction id, begin, end, when it is forgotten, and whether it stopped."""


def added(known: bytes, sessions: Iterable[tuple[Session, int]]) -> bytes:
    """`known` with these sessions, each kept until the given moment; at most the latest `MOST`."""
    entries = [
        _ENTRY.pack(_hash(s.transaction_id), s.begun_at, s.ended_at, until, s.stopped_at is not None)
        for s, until in sessions
    ]
    return (known + b"".join(entries))[-MOST * _ENTRY.size :]


def recognised(known: bytes, step: TransactionStep) -> bool:
    """Whether `step` belongs to one of them: a repeated start, or a step within its time."""
    if not known:
        return False
    wanted = _hash(step.transaction_id)
    for number, begun, ended, _, stopped in _ENTRY.iter_unpack(known):
        if number != wanted:
            continue
        if step.at == begun if step.kind == "started" else begun <= step.at <= ended:
            return stopped or step.kind != "ended"
    return False


def expiry(known: bytes) -> int | None:
    """When to remove expired entries: when the last one added expires; None if there is none."""
    if not known:
        return None
    until: int = _ENTRY.unpack_from(known, len(known) - _ENTRY.size)[3]
    return until


def unexpired(known: bytes, at: int) -> bytes:
    """`known` without the entries that have expired at `at`."""
    return (
        b"".join([_ENTRY.pack(*each) for each in _ENTRY.iter_unpack(known) if each[3] > at])
        if known
        else known
    )


def _hash(transaction_id: str) -> int:
    return int.from_bytes(
        blake2b(transaction_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )
