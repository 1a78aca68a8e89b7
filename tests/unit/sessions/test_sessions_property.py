"""Whatever the channel does to truthful chargers' messages, the sessions come out as the meters measured them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from tests.unit.sessions.exchanges import MINUTE, NOON, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told


@dataclass
class Truth:
    """What each EVSE's meter measured, and the messages that tell of it, transaction by transaction."""

    energy: dict[str, int] = field(default_factory=dict)
    transactions: list[list[OcppCallReceived]] = field(default_factory=list)


def truth(random: Random, evses: int, version: str) -> Truth:
    told = Truth()
    for evse in range(1, evses + 1):
        register, at = random.randrange(10**7), NOON + random.randrange(MINUTE)
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


def channel(random: Random, told: Truth, version: str) -> list[OcppCallReceived]:
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
                recorded_at=NOON + n,
                event_id=derive_id(each.event_id, str(n))
                if again and random.random() < 0.5
                else each.event_id,
            )
        )
    return out


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    evses=st.integers(1, 3),
    version=st.sampled_from(["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]),
)
def test_sessions_are_as_the_meters_measured_them(seed: int, evses: int, version: str) -> None:
    random = Random(seed)
    told = truth(random, evses, version)
    in_order = Told([message for messages in told.transactions for message in messages])
    log = channel(random, told, version)
    received = Told(log)
    final = {end.transaction_id: end for end in received.ends}
    assert {tx: end.energy_wh for tx, end in final.items()} == told.energy
    assert {tx: end.review for tx, end in final.items()} == dict.fromkeys(told.energy, ())
    expected = {end.transaction_id: end for end in in_order.ends}
    for tx, end in final.items():
        true = expected[tx]
        assert (end.session_id, end.started_at, end.ended_at, end.id_token, end.evse_id) == (
            true.session_id,
            true.started_at,
            true.ended_at,
            true.id_token,
            true.evse_id,
        )
    assert {c.transaction_id: c.amount_minor for c in in_order.cdrs} == {
        c.transaction_id: c.amount_minor for c in received.cdrs
    }
    assert [c.version for c in sorted(received.cdrs, key=lambda c: (c.cdr_id, c.version))] == [
        n
        for tx in sorted(final, key=lambda tx: cdr_id(received, tx))
        for n in range(1, versions(received, tx) + 1)
    ]
    # Replayed from the beginning the log gives the same records with the same ids.
    assert Told(log).records() == received.records()


def cdr_id(told: Told, tx: str) -> str:
    return next(c.cdr_id for c in told.cdrs if c.transaction_id == tx)


def versions(told: Told, tx: str) -> int:
    return max(c.version for c in told.cdrs if c.transaction_id == tx)
