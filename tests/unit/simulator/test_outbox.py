import pytest

from services.simulator.domain.outbox import Entry, Outbox, ended_before_updated


def event(kind: str, seq: int, transaction: int = 1, sent: bool = False) -> Entry:
    entry = Entry("TransactionEvent", {"eventType": kind, "seqNo": seq}, transaction)
    entry.message_id = "sent" if sent else ""
    return entry


def order(entries: list[Entry]) -> list[tuple[int, str, int]]:
    return [(entry.transaction, entry.payload["eventType"], entry.payload["seqNo"]) for entry in entries]


def test_only_the_head_can_leave() -> None:
    outbox = Outbox()
    first, second = event("Started", 0), event("Ended", 1)
    outbox.put(first)
    outbox.put(second)
    with pytest.raises(ValueError, match="head"):
        outbox.done(second)
    outbox.done(first)
    assert outbox.head() is second
    assert len(outbox) == 1


def test_it_knows_which_transactions_wait() -> None:
    outbox = Outbox()
    outbox.put(event("Started", 0, transaction=7))
    assert outbox.holds(7)
    assert not outbox.holds(8)


def test_ended_overtakes_updated_of_its_transaction_alone() -> None:
    queue = [event("Started", 0), event("Updated", 1), event("Updated", 2), event("Ended", 3)]
    queue += [event("Started", 0, 2), event("Updated", 1, 2)]
    assert order(ended_before_updated(queue)) == [
        (1, "Started", 0),
        (1, "Ended", 3),
        (2, "Started", 0),
        (2, "Updated", 1),
        (1, "Updated", 1),
        (1, "Updated", 2),
    ]


def test_nothing_overtakes_what_was_sent() -> None:
    queue = [event("Updated", 4, sent=True), event("Updated", 5), event("Ended", 6)]
    assert [entry.payload["seqNo"] for entry in ended_before_updated(queue)] == [4, 6, 5]
