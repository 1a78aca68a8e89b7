"""What pages are told of changes: which parts of what they show are old. They fetch these themselves."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from services.api.live.hub import Event, Hub, Notice, Subscription, wire

MOST: Final = 64
"""Parts that one browser can be told of."""

_PAUSE_S: Final = 0.25
"""After a hint, so that a busy station makes few."""
_LONGEST_S: Final = 1.0
_RETRY_MS: Final = (500, 2_000)
"""When browsers come back; not all at once."""


async def hints(hub: Hub, subscription: Subscription, names: frozenset[str]) -> AsyncIterator[bytes]:
    """Server-sent events for a subscription of `names`, until it ends.

    `hello` comes first. `changed` has a list of names. Where events were missed it is a `reload`: all may have changed.
    Each has the id from which the stream can be continued. The last one says why the stream ends: `revoked`,
    `dropped`, or `closing`.
    """
    retry = random.randint(*_RETRY_MS)  # noqa: S311
    changed: set[str] = set()
    since = 0.0
    try:
        yield f"retry: {retry}\n".encode() + wire("hello", {}, hub.place_of(subscription))
        async with aclosing(hub.told(subscription)) as told:
            async for each in told:
                if isinstance(each, Event):
                    since = since if changed else time.monotonic()
                    changed |= names & each.parts
                elif isinstance(each, Notice):
                    kind = "reload" if each.kind == "gap" else each.kind
                    yield wire(kind, {"detail": each.detail}, hub.place_of(subscription))
                    continue
                if changed and (each is None or time.monotonic() - since > _LONGEST_S):
                    yield wire("changed", sorted(changed), hub.place_of(subscription))
                    changed.clear()
                    await asyncio.sleep(_PAUSE_S)
    finally:
        hub.end(subscription)
