"""A group is put back to the beginning of its inputs, unless somebody would go on from where it is."""

import pytest
from aiokafka.errors import KafkaError

from libs.bus.admin import rewind
from tests.integration.runtimes.bench import KafkaBench
from tests.integration.runtimes.tally import Tally, call

pytestmark = pytest.mark.parametrize("kind", ["transactional"])


async def test_a_running_processor_is_not_rewound_and_not_disturbed(kafka: KafkaBench) -> None:
    member = await kafka.start()
    await kafka.send(call("s1", "Add", 1))
    await kafka.outputs("s1", 1)
    generation = member.runtime.consumer._coordinator.generation  # type: ignore[union-attr]
    with pytest.raises(KafkaError):
        await rewind(kafka.bus.settings, Tally.name, Tally.inputs)
    await kafka.send(call("s1", "Add", 1))
    assert [output.meter_wh for output in await kafka.outputs("s1", 2)] == [1, 2]
    assert member.runtime.consumer._coordinator.generation == generation  # type: ignore[union-attr]


async def test_a_processor_that_is_stopped_reads_its_inputs_again(kafka: KafkaBench) -> None:
    member = await kafka.start()
    await kafka.send(call("s1", "Add", 1), call("s2", "Add", 1))
    for station in ("s1", "s2"):
        await kafka.outputs(station, 1)
    await member.stop()
    await rewind(kafka.bus.settings, Tally.name, Tally.inputs)
    await kafka.start()
    for station in ("s1", "s2"):
        assert [output.meter_wh for output in await kafka.outputs(station, 2)] == [1, 2]


async def test_a_topic_that_is_not_there_cannot_be_rewound(kafka: KafkaBench) -> None:
    with pytest.raises(KafkaError):
        await rewind(kafka.bus.settings, Tally.name, [*Tally.inputs, "nowhere"])
