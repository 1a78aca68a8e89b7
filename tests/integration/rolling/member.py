"""A process of the slice: `python -m tests.integration.rolling.member RELEASE SETTINGS_JSON`.

Runs until SIGTERM; prints `ready` when it is. Ends with status 1 as a service does.
"""

import asyncio
import sys
from typing import Any

from libs.bus.bus import connect
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.settings import BusSettings
from libs.runtime.service import Health, run_service
from libs.runtime.settings import ServiceSettings
from tests.integration.rolling import first, second
from tests.integration.rolling.common import installed

RELEASES: dict[str, Any] = {"1.0": first, "2.0": second}


async def run(release: str, settings: BusSettings, stop: asyncio.Event) -> None:
    """Fold until `stop`."""
    slice_ = RELEASES[release]
    with installed(slice_.RECORDS):
        async with connect(settings, slice_.CONTRACT) as bus, asyncio.TaskGroup() as tasks:
            runtime: TransactionalRuntime[Any] = TransactionalRuntime(bus, slice_.Totals())
            tasks.create_task(runtime.run(stop))
            while not runtime.ready and not stop.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            print("ready", flush=True)


def main(release: str, settings: BusSettings) -> None:
    """Run as a service does."""

    async def body(health: Health, stop: asyncio.Event) -> None:
        await run(release, settings, stop)

    run_service("totals", ServiceSettings(http_port=0), body)


if __name__ == "__main__":
    main(sys.argv[1], BusSettings.model_validate_json(sys.argv[2]))
