"""Waiting for Kafka only so long: its client waits for a broker for ever, and passes over cancellation now and then."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.runtime.logging import get_logger

log = get_logger(__name__)

LEAVE_S: Final = 3.0
"""What telling brokers that somebody leaves may take: if they do not hear it, they find out by themselves."""
LEAVE_GROUP_S: Final = 5.0
"""As `LEAVE_S`, of who may have to wait for the others of a group first."""


FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 5.0
"""Between two attempts at what Kafka or the registry does not give."""


async def within(seconds: float, work: Coroutine[Any, Any, object]) -> bool:
    """Do `work` if that takes no longer than `seconds`; otherwise it is cancelled, not waited for, and it is False.

    Raises what `work` raises in that time.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_pass_over)
    if not done:
        return False
    # While a broker is away aiokafka lets the cancellation of its own fetches through.
    if not task.cancelled():
        task.result()
    return True


async def leave(consumer: AIOKafkaConsumer) -> None:
    """Stop `consumer`, whether brokers are there to be told or not."""
    try:
        if not await within(LEAVE_GROUP_S, consumer.stop()):
            log.warning("consumer_left_unsaid")
    except KafkaError as error:
        log.warning("consumer_left_unsaid", error=repr(error))


def _pass_over(task: "asyncio.Task[object]") -> None:
    """Take what came of it, or asyncio complains that nobody did."""
    if not task.cancelled():
        task.exception()
