"""A shutdown deadline: after SIGTERM or SIGINT the process exits in bounded time."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from libs.runtime.logging import get_logger

log = get_logger(__name__)

STUCK: Final = 1
"""The exit status of a process that did not end in time."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SHOWN: Final = 20
_TELLING_S: Final = 1.0
_OWN: Final = "stop-bound"


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt in the main thread on SIGTERM and SIGINT.

    Also where SIGINT is ignored: shells start background jobs of scripts so.
    """
    for signum in _SIGNALS:
        signal.signal(signum, signal.default_int_handler)


def set_shutdown_deadline(stop: asyncio.Event, timeout_s: float) -> None:
    """Set `stop` on SIGTERM or SIGINT, and end the process `timeout_s` after the first if it is still there.

    Call it once, from the main thread, in the running loop that `stop` belongs to. Who sends the same signal again
    does not want to wait: it ends the process at once, with status 128 and the signal's number. Both ends run no
    further code of the process, so that they also work while the loop is blocked or a thread cannot be joined; what
    has no durable effect then is what kill -9 leaves, too.
    """
    received: SimpleQueue[int] = SimpleQueue()

    def receive(signum: int, _: FrameType | None) -> None:
        # The one thing that may be done wherever the signal interrupts the main thread.
        received.put(signum)

    for signum in _SIGNALS:
        signal.signal(signum, receive)
    loop = asyncio.get_running_loop()
    watch = threading.Thread(target=_watch, args=(received, loop, stop, timeout_s), name=_OWN, daemon=True)
    watch.start()


def _watch(
    received: SimpleQueue[int], loop: asyncio.AbstractEventLoop, stop: asyncio.Event, timeout_s: float
) -> None:
    first = received.get()
    until = time.monotonic() + timeout_s
    with suppress(RuntimeError):  # it may be closed already
        loop.call_soon_threadsafe(stop.set)
    _tell(lambda: log.info("stopping", signal=signal.Signals(first).name, timeout_s=timeout_s))
    seen = {first}
    while True:
        try:
            signum = received.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            _tell(lambda: log.error("stop_timed_out", timeout_s=timeout_s, running=_running(loop)))
            os._exit(STUCK)
        # A terminal's SIGINT and a supervisor's SIGTERM may both be the first that somebody sent.
        if signum in seen:
            _tell(lambda: log.error("stopped_at_once", running=_running(loop)))
            os._exit(128 + signum)
        seen.add(signum)


def _tell(say: Callable[[], object]) -> None:
    """Say it, unless that fails or takes long: another thread may hold the log, or nobody reads it any more."""

    def attempt() -> None:
        with suppress(Exception):
            say()

    teller = threading.Thread(target=attempt, name=_OWN, daemon=True)
    teller.start()
    teller.join(_TELLING_S)


def _running(loop: asyncio.AbstractEventLoop) -> list[str]:
    """What has not ended: tasks with the line that each waits in, and threads."""
    tasks = sorted(f"{task.get_name()} in {_place(task.get_coro())}" for task in asyncio.all_tasks(loop))
    threads = sorted(f"thread {thread.name}" for thread in threading.enumerate() if thread.name != _OWN)
    return [*tasks[:_SHOWN], *threads[:_SHOWN]]


def _place(coroutine: Any) -> str:
    """Where a coroutine waits, from the outermost function to the innermost."""
    return " > ".join(f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in _frames(coroutine))


def _frames(coroutine: Any) -> Iterator[FrameType]:
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            return
        yield frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
