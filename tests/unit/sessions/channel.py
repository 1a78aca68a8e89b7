"""What lies between chargers and the fold: it repeats, delays, reorders, cuts, and loses nothing."""

from __future__ import annotations

from random import Random

import msgspec

from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from tests.unit.sessions.charger import Script

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
OF_TRANSACTIONS = ("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent")


def topic_of(record: OcppCallReceived) -> str:
    return "ocpp.transactions" if record.action in OF_TRANSACTIONS else "ocpp.lifecycle"


def delivered(random: Random, scripts: list[Script], *, orderly: bool, slow: bool) -> list[OcppCallReceived]:
    """The log of one station: every message at least once.

    `orderly`: what a charger tells of a transaction comes in its order, as 1.6 has it.
    `slow`: hours go by, so that rules close sessions before all is known; less than a day where connectors tell
    statuses, which are remembered no longer.
    """
    queues = [list(script) for script in scripts]
    for queue in queues:
        if not orderly:
            random.shuffle(queue)
    log: list[OcppCallReceived] = []
    backwards = not orderly and random.random() < 0.2
    while queues := [queue for queue in queues if queue]:
        # Mostly one transaction after the other, as it happened.
        queue = queues[-1 if backwards else 0] if random.random() < 0.7 else random.choice(queues)
        log.append(queue.pop(0))
        if random.random() < 0.15:
            log += again(random, log)
    if random.random() < 0.2:
        # An edge or operator sends everything again.
        log += log
    return recorded(random, log, slow)


def again(random: Random, log: list[OcppCallReceived]) -> list[OcppCallReceived]:
    """What a charger sends again after a cut: a message, or the end of its queue."""
    if random.random() < 0.5:
        return [random.choice(log)]
    return log[-random.randint(1, 6) :]


def recorded(random: Random, log: list[OcppCallReceived], slow: bool) -> list[OcppCallReceived]:
    """The messages at the moments at which they were recorded; what came before has a new id, or the same."""
    statuses = any(each.action == "StatusNotification" for each in log)
    now, seen, out, patience = 0, set[str](), [], 20 * HOUR if statuses else 5 * 24 * HOUR
    for n, each in enumerate(log):
        now = max(now + random.choice([1, SECOND, MINUTE]), each.occurred_at + SECOND)
        if slow and random.random() < 0.1:
            pause = min(random.randint(1, 30) * HOUR, patience)
            now, patience = now + pause, patience - pause
        repeated = each.event_id in seen and random.random() < 0.5
        event_id = derive_id(each.event_id, str(n)) if repeated else each.event_id
        seen.add(each.event_id)
        out.append(msgspec.structs.replace(each, recorded_at=now, event_id=event_id, cause_id=event_id))
    return out
