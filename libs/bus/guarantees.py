"""What each processor runtime guarantees: the one table that the conformance suite runs by and the manual prints."""

from typing import Literal, NamedTuple

Runtime = Literal["memory", "transactional", "faust"]
RUNTIMES: tuple[Runtime, ...] = ("memory", "transactional", "faust")


class Guarantee(NamedTuple):
    """One promise. Per runtime: True where it holds, else what happens instead."""

    name: str
    text: str
    memory: Literal[True] | str
    transactional: Literal[True] | str
    faust: Literal[True] | str

    def holds_for(self) -> tuple[Runtime, ...]:
        """The runtimes that guarantee it."""
        return tuple(runtime for runtime in RUNTIMES if getattr(self, runtime) is True)


_NO_PROCESS = "one process, nothing is kept"

GUARANTEES: dict[str, Guarantee] = {
    guarantee.name: guarantee
    for guarantee in (
        Guarantee(
            "key-order",
            "Messages of one key are handled in the order of each topic, one at a time.",
            True, True, True,
        ),
        Guarantee(
            "time-order",
            "Messages of several inputs are handed over by their timestamps while catching up, those of the same "
            "millisecond in the order of the inputs, and no input runs ahead of one that has more to read.",
            "in the order in which they are fed", True, "within a batch only",
        ),
        Guarantee(
            "unwanted",
            "Records that the processor does not want by their headers are passed over unread.",
            True, True, True,
        ),
        Guarantee(
            "state-once",
            "No message counts twice in state, whatever crashes.",
            True, True, True,
        ),
        Guarantee(
            "nothing-lost",
            "After a kill -9, a hand-over or a broker's restart every message still takes effect.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "same-ids",
            "What is emitted again after a crash carries the same event ids.",
            True, True, True,
        ),
        Guarantee(
            "outputs-once",
            "Consumers that read committed records see every output exactly once, together with its state and offsets.",
            True, True, "outputs of the last second or so are repeated after a crash",
        ),
        Guarantee(
            "fencing",
            "A process that was frozen and wakes up after its partitions have moved writes nothing that counts.",
            _NO_PROCESS, True,
            "it may write outputs again and an old state; do not freeze it beyond the session timeout",
        ),
        Guarantee(
            "restart",
            "State and timers survive a restart.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "state-shape",
            "A stored state of an earlier shape is read by its upcast. One of an unknown shape stops the process; "
            "nothing is lost, and a process that can read it goes on.",
            True, True, True,
        ),
        Guarantee(
            "rolling",
            "While an earlier release is named, states are written as that release reads them, and both share the "
            "partitions.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "dead-letters",
            "A message that the processor cannot handle, or whose results cannot be written, goes to dead letters with "
            "a metric; it changes nothing and the others go on.",
            True, True, True,
        ),
        Guarantee(
            "failure-limit",
            "More failures of a partition than the limit stop it, with a metric, before the one that is too many; the "
            "other partitions go on.",
            "puts all aside", True, True,
        ),
        Guarantee(
            "state-errors",
            "A stored state that cannot be read stops its partition, with a metric; the other partitions go on.",
            "raises StateError", True, True,
        ),
        Guarantee(
            "infrastructure",
            "While it cannot be told what a value is, its partition (on Faust every one of the process) waits, with a "
            "metric, and nothing is put aside.",
            "messages are already decoded", True, True,
        ),
        Guarantee(
            "unknown-kinds",
            "A record of a kind that only a newer version knows is passed over, with a metric.",
            "messages are already decoded", True, True,
        ),
        Guarantee(
            "unreadable",
            "A value that is no Avro record, or whose schema id nobody knows, goes to dead letters with a metric.",
            "messages are already decoded", True, True,
        ),
        Guarantee(
            "timers",
            "Ticks come one to two seconds after they are due, also while messages keep coming, once what was recorded "
            "before has been handled; a deadline comes before a message that was recorded after it; a tick that raises "
            "is counted and comes again.",
            True, True, True,
        ),
        Guarantee(
            "forgetting",
            "A state of None forgets the key; a tombstone follows in the state topic.",
            True, True, True,
        ),
        Guarantee(
            "tables-first",
            "Tables are caught up before the first message is handled.",
            True, True, True,
        ),
        Guarantee(
            "tables-follow",
            "A processor whose tables are more than 15 s behind is not ready; if nobody follows them any more, its "
            "process ends.",
            "tables are what the test makes them", True, True,
        ),
        Guarantee(
            "sharing",
            "Members of a group share the partitions and take over from one that stops or dies.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "co-partitioning",
            "A processor whose inputs and state differ in their partition counts is refused at its start.",
            "one partition", True, True,
        ),
    )
}  # fmt: skip


def markdown() -> str:
    """The table for `docs/processors.md`."""
    head = "| | " + " | ".join(RUNTIMES) + " |\n|---|" + "---|" * len(RUNTIMES)
    rows = [
        f"| {guarantee.text} | "
        + " | ".join("yes" if (held := getattr(guarantee, r)) is True else str(held) for r in RUNTIMES)
        + " |"
        for guarantee in GUARANTEES.values()
    ]
    return "\n".join([head, *rows])


_BEGIN = "<!-- guarantees: generated from libs/bus/guarantees.py -->\n"
_END = "<!-- guarantees: end -->\n"


def with_table(manual: str) -> str:
    """`manual` (the text of `docs/processors.md`) with its table up to date. Raises ValueError without a place."""
    before, begin, rest = manual.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError("no place for the table of guarantees")
    return f"{before}{begin}{markdown()}\n{end}{after}"
