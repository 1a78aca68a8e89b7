"""Whose session it is: the id tokens that a transaction named, and what the central system answered about them. Pure.

The driver's is the first that the transaction named, of those that were not refused if there are any. One that was
named to stop it (2.x StopAuthorized, or the end of any version) counts only where there is no other: whoever has a
token of the same group may stop (1.6 §4.10, 2.0.1 E07). A token was let in if any answer accepted it: whoever is
blocked, or expires, while the vehicle charges was let in all the same.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.ocpp.semantics.model import TransactionStep

ACCEPTED: Final = "Accepted"
MOST: Final = 8
"""Tokens of a transaction that are remembered."""

_STOPS: Final = "StopAuthorized"


class Presented(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A token as it was named first, at the charger's moment `at`.

    `status`: what was answered about it, Accepted if anything was that, else of several words the first by the
    alphabet; empty if no answer spoke of it. `stopping`: it was named for nothing but to stop the transaction.
    """

    id_token: str
    at: int
    status: str = ""
    stopping: bool = False

    @property
    def refused(self) -> bool:
        """Whether it was answered about, and never accepted."""
        return bool(self.status) and self.status != ACCEPTED


def joined(known: tuple[Presented, ...], step: TransactionStep) -> tuple[Presented, ...]:
    """The tokens of a transaction, the driver's first, with that of `step`; the same object if that is no news."""
    token = step.id_token
    if token is None:
        return known
    stopping = step.kind == "ended" or step.trigger == _STOPS
    told = Presented(token, step.at, step.token_status or "", stopping)
    key = token.casefold()
    for index, one in enumerate(known):
        if one.id_token == token or one.id_token.casefold() == key:
            both = _merged(one, told)
            return known if both == one else _ordered((*known[:index], both, *known[index + 1 :]))
    return _ordered((*known, told))


def refusal(known: tuple[Presented, ...]) -> str:
    """What the driver's token was answered with if it was not accepted; empty if it was, or was not asked about."""
    return known[0].status if known and known[0].refused else ""


def _merged(one: Presented, other: Presented) -> Presented:
    """The same token, named twice."""
    counting = [each for each in (one, other) if not each.stopping] or [one, other]
    first = min(counting, key=_moment)
    statuses = {one.status, other.status} - {""}
    status = ACCEPTED if ACCEPTED in statuses else min(statuses, default="")
    return Presented(first.id_token, first.at, status, first.stopping)


def _moment(each: Presented) -> tuple[int, str]:
    return each.at, each.id_token


def _rank(each: Presented) -> tuple[bool, bool, int, str]:
    return each.stopping, each.refused, each.at, each.id_token


def _ordered(tokens: tuple[Presented, ...]) -> tuple[Presented, ...]:
    return tuple(sorted(tokens, key=_rank)[:MOST]) if len(tokens) > 1 else tokens
