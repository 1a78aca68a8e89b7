"""Truthful chargers on virtual meters, and a channel that repeats, delays and reorders what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import msgspec

from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from tests.unit.sessions.exchanges import DAY, MINUTE, NOON, event2, meter16, start16, stop16


@dataclass
class Truth:
    """What each EVSE's meter measured, and the messages that tell of it, transaction by transaction."""

    energy: dict[str, int] = field(default_factory=dict)
    transactions: list[list[OcppCallReceived]] = field(default_factory=list)


def truth(random: Random, evses: int, version: str, begin: int = NOON) -> Truth:
    told = Truth()
    for evse in range(1, evses + 1):
        register, at = random.randrange(10**7), begin + random.randrange(MINUTE)
        for n in range(random.randint(1, 3)):
            tx, start = evse * 10 + n + 1, register
            name = str(tx) if version == "ocpp1.6" else f"tx-{tx}"
            tag = f"TAG-{tx}"
            steps = random.randint(0, 4)
            if version == "ocpp1.6":
                messages = [start16(tx, at, register, connector=evse, tag=tag)]
            else:
                messages = [event2("Started", name, 0, at, register, evse=evse, tag=tag, version=version)]
            for seq in range(1, steps + 1):
                at += MINUTE
                register += random.randrange(500)
                messages.append(
                    meter16(tx, at, register, connector=evse)
                    if version == "ocpp1.6"
                    else event2("Updated", name, seq, at, register, evse=evse, version=version)
                )
            at += MINUTE
            register += random.randrange(500)
            messages.append(
                stop16(tx, at, register)
                if version == "ocpp1.6"
                else event2("Ended", name, steps + 1, at, register, evse=evse, version=version)
            )
            at += MINUTE
            told.energy[name] = register - start
            told.transactions.append(messages)
    return told


def channel(random: Random, told: Truth, version: str, begin: int = NOON) -> list[OcppCallReceived]:
    """The messages as they are recorded: repeated, late, and out of order where OCPP allows it."""
    queues = [list(messages) for messages in told.transactions]
    if version != "ocpp1.6":
        for queue in queues:
            random.shuffle(queue)
    recorded: list[OcppCallReceived] = []
    while queues := [queue for queue in queues if queue]:
        # A 1.6 station sends the transactions of a connector one after the other.
        queue = queues[0] if version == "ocpp1.6" and random.random() < 0.7 else random.choice(queues)
        recorded.append(queue.pop(0))
        if random.random() < 0.3:
            recorded.append(random.choice(recorded))
    out = []
    for n, each in enumerate(recorded):
        again = each in recorded[:n]
        out.append(
            msgspec.structs.replace(
                each,
                recorded_at=begin + DAY + n,
                event_id=derive_id(each.event_id, str(n))
                if again and random.random() < 0.5
                else each.event_id,
            )
        )
    return out
