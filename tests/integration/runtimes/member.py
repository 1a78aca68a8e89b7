"""One member of the tally group as a process of its own, for tests that kill or freeze it.

`python -m tests.integration.runtimes.member RUNTIME SETTINGS_JSON` runs until SIGTERM; prints `ready` when it is.
"""

import asyncio
import signal
import sys

import uvloop

from libs.bus.bus import connect
from libs.bus.settings import BusSettings
from tests.integration.runtimes.bench import runtime_class
from tests.integration.runtimes.tally import CONTRACT, Tally


async def main(kind: str, settings: BusSettings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with connect(settings, CONTRACT) as bus, asyncio.TaskGroup() as tasks:
        runtime = runtime_class(kind)(bus, Tally())
        tasks.create_task(runtime.run(stop))
        while not runtime.ready and not stop.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        print("ready", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], BusSettings.model_validate_json(sys.argv[2])))
