"""Whatever the channel does to truthful chargers' messages, the sessions come out as the meters measured them."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.cdr_hash import digest
from tests.unit.sessions.exchanges import SECOND
from tests.unit.sessions.given import Told
from tests.unit.sessions.truthful import channel, truth


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
    for end in received.ends:
        assert end.billed_wh + end.review_wh == end.energy_wh
        assert end.charging_s + end.suspended_s + end.idle_s == (end.ended_at - end.started_at) // SECOND
    # What was issued and taken back comes to what the last versions say, and every document seals the one before it.
    last = {c.cdr_id: c.amount_minor for c in received.cdrs}
    assert sum(document.amount_minor for document in received.documents) == sum(last.values())
    previous = ""
    for document in received.documents:
        assert document.previous_hash == previous
        assert document.hash == digest(document)
        previous = document.hash
    # Replayed from the beginning the log gives the same records with the same ids.
    assert Told(log).records() == received.records()


def cdr_id(told: Told, tx: str) -> str:
    return next(c.cdr_id for c in told.cdrs if c.transaction_id == tx)


def versions(told: Told, tx: str) -> int:
    return max(c.version for c in told.cdrs if c.transaction_id == tx)
