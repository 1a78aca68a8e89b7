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


_NO_PROCESS = "one process, no persistence"

GUARANTEES: dict[str, Guarantee] = {
    guarantee.name: guarantee
    for guarantee in (
        Guarantee(
            "key-order",
            "Messages of one key are handled one at a time, in each topic's order.",
            True, True, True,
        ),
        Guarantee(
            "time-order",
            "While catching up, inputs are merged by timestamp, equal milliseconds in the order of the inputs; no "
            "input runs ahead of one with more to read.",
            "in the order fed", True, "within a batch only",
        ),
        Guarantee(
            "unwanted",
            "Records unwanted by their headers are skipped undecoded.",
            True, True, True,
        ),
        Guarantee(
            "state-once",
            "No message counts twice in state, whatever crashes.",
            True, True, True,
        ),
        Guarantee(
            "nothing-lost",
            "After kill -9, a rebalance or a broker restart every message still takes effect.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "same-ids",
            "Events emitted again after a crash have the same ids.",
            True, True, True,
        ),
        Guarantee(
            "outputs-once",
            "Read-committed consumers see every output exactly once, together with its state and offsets.",
            True, True, "a crash repeats outputs of the last second or so",
        ),
        Guarantee(
            "fencing",
            "A process frozen until its partitions have moved writes nothing that counts.",
            _NO_PROCESS, True,
            "may repeat outputs and write an old state; do not freeze it beyond the session timeout",
        ),
        Guarantee(
            "restart",
            "State and timers survive a restart.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "state-shape",
            "A state of an earlier shape is read by its upcast. An unknown shape stops the process; nothing is lost, "
            "and a process that knows it goes on.",
            True, True, True,
        ),
        Guarantee(
            "rolling",
            "With an earlier release named, states are written as it reads them, and both share the partitions.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "dead-letters",
            "A message that cannot be handled, or whose results cannot be written, becomes a dead letter with a "
            "metric; it changes nothing, others go on.",
            True, True, True,
        ),
        Guarantee(
            "failure-limit",
            "A partition with more failures than the limit stops before the one too many, with a metric; others go on.",
            "no limit", True, True,
        ),
        Guarantee(
            "state-errors",
            "An unreadable stored state stops its partition, with a metric; others go on.",
            "raises StateError", True, True,
        ),
        Guarantee(
            "infrastructure",
            "While a schema cannot be looked up, the partition (on Faust all of the process) waits, with a metric; "
            "nothing is dead-lettered.",
            "already decoded", True, True,
        ),
        Guarantee(
            "unknown-kinds",
            "A record kind of a newer version is skipped, with a metric.",
            "already decoded", True, True,
        ),
        Guarantee(
            "unreadable",
            "A value that is no Avro record, or has an unknown schema id, becomes a dead letter with a metric.",
            "already decoded", True, True,
        ),
        Guarantee(
            "timers",
            "Ticks come one to two seconds after they are due, even under load, after everything recorded before; a "
            "deadline comes before messages recorded after it; a tick that raises is counted and retried.",
            True, True, True,
        ),
        Guarantee(
            "forgetting",
            "A state of None forgets the key, with a tombstone in the state topic.",
            True, True, True,
        ),
        Guarantee(
            "tables-first",
            "Tables are caught up before the first message.",
            True, True, True,
        ),
        Guarantee(
            "tables-follow",
            "A processor with tables over 15 s behind is not ready; if following fails for good, the process ends.",
            "tables are given by the test", True, True,
        ),
        Guarantee(
            "sharing",
            "Group members share the partitions and take over from one that stops or dies.",
            _NO_PROCESS, True, True,
        ),
        Guarantee(
            "co-partitioning",
            "A processor with different partition counts of inputs and state does not start.",
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
