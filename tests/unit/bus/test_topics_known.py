"""When a topic that was made can be used: every broker that answers names it, and a leader of each partition."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from libs.bus.admin import topics_known

Known = dict[str, list[int]]
"""The leaders of each topic's partitions."""


class Brokers:
    """Admin client and client in one. `answers`: what each broker says, time after time; the last one stays."""

    def __init__(self, **answers: list[Known | Exception]) -> None:
        self.answers = answers
        self.asked = 0

    @property
    def _client(self) -> "Brokers":
        return self

    @property
    def cluster(self) -> Any:
        return SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=name) for name in self.answers])

    async def send(self, broker: str, request: Any) -> Any:
        self.asked += 1
        assert request.build(RequestV4).args == (["t", "u"], False)
        answers = self.answers[broker]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        topics = [
            {"topic": topic, "partitions": [{"leader": leader} for leader in leaders]}
            for topic, leaders in answer.items()
        ]
        return SimpleNamespace(to_object=lambda: {"topics": topics})


class RequestV4:
    """A request of a version that can forbid that the question makes the topic."""

    API_VERSION = 4

    def __init__(self, *args: Any) -> None:
        self.args = args


READY: Known = {"t": [1, 2], "u": [1]}
COUNTS = {"t": 2, "u": 1}
AWAY = KafkaConnectionError("away")


async def known(brokers: Brokers, timeout_s: float = 60) -> None:
    await topics_known(brokers, COUNTS, timeout_s)


@pytest.mark.parametrize("before", [{"u": [1]}, {"t": [], "u": [1]}, {"t": [1, -1], "u": [1]}])
async def test_every_broker_is_waited_for(before: Known) -> None:
    brokers = Brokers(one=[READY], two=[before, before, READY])
    await known(brokers)
    assert brokers.asked == 6


async def test_a_broker_that_does_not_answer_is_not() -> None:
    brokers = Brokers(one=[READY], two=[AWAY])
    await known(brokers)
    assert brokers.asked == 2


async def test_one_has_to_answer() -> None:
    brokers = Brokers(one=[AWAY, AWAY, READY])
    await known(brokers)
    assert brokers.asked == 3
    with pytest.raises(KafkaTimeoutError, match="no broker answers"):
        await known(Brokers(one=[AWAY]), timeout_s=0)


async def test_it_is_said_which_broker_lacks_what() -> None:
    with pytest.raises(KafkaTimeoutError, match=r"after 0 s not ready for use: broker two lacks t$"):
        await known(Brokers(one=[READY], two=[{"u": [2]}]), timeout_s=0)
