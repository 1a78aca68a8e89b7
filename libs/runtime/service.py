"""The frame of a service process: logging, uvloop, health and metrics endpoints, stop on a signal."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import uvloop
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.runtime import descriptors
from libs.runtime.http import serve_http
from libs.runtime.logging import configure_logging, get_logger
from libs.runtime.settings import ServiceSettings
from libs.runtime.stopping import set_shutdown_deadline

log = get_logger(__name__)

Check = Callable[[], bool]


class Health:
    """Named yes-or-no checks behind `/health/live` and `/health/ready`.

    A check is a cheap function without I/O that says whether its part works now. A process that has not added
    a readiness check yet is starting, and not ready.
    """

    def __init__(self) -> None:
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def live(self, name: str, check: Check) -> None:
        """Add a check whose failure means that the process should be restarted."""
        self._live[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Add a check whose failure means that no work should be sent here now."""
        self._ready[name] = check

    def is_live(self) -> bool:
        """Whether every liveness check passes."""
        return all(check() for check in self._live.values())

    def is_ready(self) -> bool:
        """Whether every liveness and readiness check passes."""
        return bool(self._ready) and self.is_live() and all(check() for check in self._ready.values())

    def routes(self) -> list[Route]:
        """The routes `/health/live` and `/health/ready`: 200, or 503 with the failing names."""

        def answer(*groups: dict[str, Check]) -> JSONResponse:
            failing = [name for group in groups for name, check in group.items() if not check()]
            if not groups[-1] and groups[-1] is self._ready:
                failing.append("starting")
            return JSONResponse(
                {"status": "failing" if failing else "ok", "failing": failing}, 503 if failing else 200
            )

        async def live(_: Request) -> Response:
            return answer(self._live)

        async def ready(_: Request) -> Response:
            return answer(self._live, self._ready)

        return [Route("/health/live", live), Route("/health/ready", ready)]


async def metrics(_: Request) -> Response:
    """Everything that this process counts, for Prometheus; on the port that is not opened to others."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


Main = Callable[[Health, asyncio.Event], Awaitable[None]]
"""A service's body: it adds its checks, works until the event is set, then drains and returns."""


def run_service(name: str, settings: ServiceSettings, main: Main) -> None:
    """Run `main` until SIGTERM or SIGINT asks it to stop.

    An exception that leaves `main` is logged and ends the process with status 1; so does a `main` that returns before
    it was asked to, and a stop that takes longer than `settings.stop_timeout_s`. The same signal again ends it at once
    (`set_shutdown_deadline`).
    """
    configure_logging(name, settings.log_level, settings.log_json)
    tune_gc()
    descriptors.raise_limit()
    try:
        uvloop.run(_run(settings, main))
    except Exception:
        log.exception("service_failed")
        raise SystemExit(1) from None


def tune_gc(youngest: int = 100_000, oldest: int = 20) -> None:
    """Let the garbage collector run less often, and never over what was loaded so far.

    A batch of messages is tens of thousands of small objects without cycles: by default they are searched for cycles
    again and again, which costs up to a quarter of decoding them. `youngest`, `oldest`: its first and last threshold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(youngest, 20, oldest)


async def until_stopped(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Await `work`, a part of a service that may only end once `stop` is set.

    Raises what it raises, RuntimeError if it ends by itself: to a TaskGroup, a task that returns or is cancelled has
    not failed.
    """
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
    if not stop.is_set():
        raise RuntimeError("a part of the service ended without being asked to")


async def _run(settings: ServiceSettings, main: Main) -> None:
    stop = asyncio.Event()
    set_shutdown_deadline(stop, settings.stop_timeout_s)
    health = Health()
    app = Starlette(routes=[*health.routes(), Route("/metrics", metrics)])
    async with serve_http(app, settings.http_host, settings.http_port) as port:
        log.info("service_started", http_port=port, descriptors=descriptors.limit())
        await until_stopped(main(health, stop), stop)
    log.info("service_stopped")
