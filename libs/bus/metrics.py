"""Every metric of the bus, declared once."""

from prometheus_client import Counter, Gauge, Histogram

PRODUCED = Counter("voltbus_bus_produced_records", "Records acknowledged by Kafka.", ["topic"])
PRODUCE_FAILED = Counter("voltbus_bus_produce_failures", "Records that Kafka did not acknowledge.", ["topic"])
PROCESSED = Counter("voltbus_processor_messages", "Messages whose effects are committed.", ["processor"])
EMITTED = Counter("voltbus_processor_emitted_records", "Records emitted and committed.", ["processor"])
TICKS = Counter("voltbus_processor_ticked_keys", "Keys whose timers were run.", ["processor"])
DEAD_LETTERS = Counter(
    "voltbus_dead_letters", "Records sent to dead letters.", ["processor", "topic", "reason"]
)
LAG = Gauge(
    "voltbus_processor_lag_records", "Records not yet processed.", ["processor", "topic", "partition"]
)
COMMIT_SECONDS = Histogram(
    "voltbus_processor_transaction_seconds", "A transaction, begin to end.", ["processor"]
)
RESTORE_SECONDS = Gauge("voltbus_processor_restore_seconds", "Last restore of a partition.", ["processor"])
RESTORES = Counter(
    "voltbus_processor_restores",
    "Restores of a partition, by how: `kept` in memory since the last assignment, or `read` from the changelog.",
    ["processor", "how"],
)
TASK_RESTARTS = Counter(
    "voltbus_processor_task_restarts", "Partitions started over after an error.", ["processor"]
)
STATE_ERRORS = Counter(
    "voltbus_processor_state_errors", "States that could not be read; the process stops.", ["processor"]
)
STATE_BYTES = Histogram(
    "voltbus_processor_state_bytes",
    "Sizes of states as they are written.",
    ["processor"],
    buckets=[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20],
)
STATES_TOO_LARGE = Counter(
    "voltbus_processor_states_too_large",
    "States that grew beyond what their processor declares.",
    ["processor"],
)
BOUNDED = Counter(
    "voltbus_processor_bounded",
    "Messages of which something was left out at a bound.",
    ["processor", "bound"],
)
STATE_KEYS = Gauge("voltbus_processor_state_keys", "Keys with state.", ["processor", "partition"])
TABLE_KEYS = Gauge("voltbus_table_keys", "Keys in a table.", ["topic"])
SCHEMA_LOOKUPS = Counter(
    "voltbus_bus_schema_lookups",
    "Unknown schema ids looked up, by where they were found: bus, registry, nowhere; unavailable: not told.",
    ["result"],
)
UNKNOWN_KINDS = Counter(
    "voltbus_unknown_kind_records",
    "Records passed over because this version does not know their kind.",
    ["consumer", "topic"],
)
STOPPED_PARTITIONS = Gauge(
    "voltbus_processor_stopped_partitions",
    "1 for a partition that stands still until a person decides, by reason: state, failures.",
    ["processor", "partition", "reason"],
)
WAITING_PARTITIONS = Gauge(
    "voltbus_processor_waiting_partitions",
    "1 for a partition that waits for a schema that cannot be looked up.",
    ["processor", "partition"],
)
FOLLOWER_BEHIND = Gauge(
    "voltbus_follower_behind_records", "Records of a followed topic not handed on yet.", ["follower", "topic"]
)
FOLLOWER_CURRENT = Gauge(
    "voltbus_follower_current_timestamp_seconds",
    "When everything that was in a followed topic had been handed on, last.",
    ["follower", "topic"],
)
FOLLOWER_RETRIES = Counter(
    "voltbus_follower_retries", "Attempts to follow, or to read a record, that failed.", ["follower"]
)
FOLLOWER_CALLBACK_ERRORS = Counter(
    "voltbus_follower_callback_errors", "Records that a callback failed on.", ["follower", "topic"]
)
FOLLOWER_PLACES_LOST = Counter(
    "voltbus_follower_places_lost",
    "Partitions whose log no longer has the offset that was next.",
    ["follower", "topic"],
)
