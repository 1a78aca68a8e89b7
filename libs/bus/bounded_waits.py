"""Bounded waits on Kafka: aiokafka may wait for a broker forever and sometimes swallows cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.runtime.logging import get_logger

log = get_logger(__name__)

LEAVE_S: Final = 3.0
"""How long telling the brokers about a departure may take; otherwise they notice it by themselves."""
LEAVE_GROUP_S: Final = 5.0
"""As `LEAVE_S`, for a member that may have to wait for the others of its group first."""


FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 5.0
"""Between two attempts to reach Kafka or the registry."""


async def run_bounded(seconds: float, work: Coroutine[Any, Any, object]) -> bool:
    """Run `work` for at most `seconds`; False if it took longer. It is then cancelled without waiting for the end.

    Raises what `work` raises in that time.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_ignore_result)
    if not done:
        return False
    # While a broker is away aiokafka lets the cancellation of its own fetches through.
    if not task.cancelled():
        task.result()
    return True


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop `consumer` in bounded time, whether or not a broker answers."""
    try:
        if not await run_bounded(LEAVE_GROUP_S, consumer.stop()):
            log.warning("consumer_left_unsaid")
    except KafkaError as error:
        log.warning("consumer_left_unsaid", error=repr(error))


def _ignore_result(task: "asyncio.Task[object]") -> None:
    """Retrieve the outcome, or asyncio complains that nobody did."""
    if not task.cancelled():
        task.exception()
