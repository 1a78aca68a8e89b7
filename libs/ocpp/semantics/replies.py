"""Answers of a processor to calls of a station, as an `AnswerCall` carries them: JSON text."""

from __future__ import annotations

import msgspec


def ended_reply(total_minor: int | None, minor_digits: int) -> str:
    """What is added to the answer to a TransactionEvent that ends a transaction (2.0.1 I02, 2.1 I02).

    `total_minor`: the final cost with taxes, `minor_digits` to a unit of the currency; None: nothing is said of it.
    """
    return (
        "{}"
        if total_minor is None
        else msgspec.json.encode({"totalCost": total_minor / 10**minor_digits}).decode()
    )
