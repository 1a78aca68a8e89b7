"""Where the bus is, and how its topics are laid out."""

from typing import Final, Literal

from pydantic import Field

from libs.runtime.settings import Settings

TOPIC_BYTES: Final = 4 << 20
"""What every topic of the contract takes as one batch (`max.message.bytes`). All other sizes follow from it."""
MAX_RECORD_BYTES: Final = TOPIC_BYTES - (64 << 10)
"""The largest key and value that are written: with headers and batch they stay below `TOPIC_BYTES`."""
DEAD_LETTER_BYTES: Final = TOPIC_BYTES + (256 << 10)
"""What dead-letter topics take: the largest record and what is said about it. No producer sends more at once."""


class BusSettings(Settings):
    """`namespace` prefixes every topic, group and transactional id: several platforms can share a cluster."""

    kafka: str = Field(default="127.0.0.1:9092", description="Bootstrap servers, comma-separated.")
    registry_url: str = Field(
        default="http://127.0.0.1:8081/apis/ccompat/v7", description="Confluent-compatible schema registry."
    )
    kafka_session_timeout_s: float = Field(
        default=6,
        ge=1,
        description="A member of a consumer group that is silent for so long is dead, and others get its partitions. "
        "No less than the brokers' group.min.session.timeout.ms.",
    )
    kafka_instance_id: str | None = Field(
        default=None,
        description="A stable name of this process, its own among those of the service (KIP-345): started again within "
        "the session timeout, it gets its partitions back at once. Not for processors on Faust.",
    )
    namespace: str = ""
    partitions: int | None = Field(
        default=None, ge=1, description="Overrides the topic files' partition counts."
    )
    slots: int | None = Field(default=None, ge=1, description="Overrides the number of edge slots.")
    replication: int = Field(default=1, ge=1)
    dead_letter_limit: int = Field(
        default=100,
        ge=0,
        description="Failures of a processor's partition that become dead letters within the window; then it stops.",
    )
    dead_letter_window_s: float = Field(default=600, gt=0, description="The window of the limit.")
    state_release: str = Field(
        default="",
        description="While a release is rolled out: the one before, which must be able to read the states written.",
    )
    compression: Literal["none", "lz4", "zstd"] = "lz4"

    def topic(self, name: str) -> str:
        """Kafka's name of the contract's topic `name`."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def group(self, name: str) -> str:
        """Kafka's name of a consumer group or transactional id."""
        return f"voltbus.{self.topic(name)}"

    def logical(self, topic: str) -> str:
        """The contract's name of Kafka's `topic`."""
        return topic.removeprefix(f"{self.namespace}.") if self.namespace else topic
