"""Requests that are not finished end, and keep nobody else out."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from libs.runtime import http
from libs.runtime.http import CUT, HttpBounds, serve_http
from tests.metrics import value_of

HOST = "127.0.0.1"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALVES = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: ",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "half a second request": WHOLE + b"GET / HT",
}
PATIENT = HttpBounds(request_s=60, half_open=16, connections=24)
HASTY = HttpBounds(request_s=0.2, half_open=16, connections=24)


async def _answer(request: Request) -> Response:
    await request.body()
    await asyncio.sleep(float(request.query_params.get("after", "0")))
    return PlainTextResponse("here")


@asynccontextmanager
async def serving(bounds: HttpBounds) -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/", _answer, methods=["GET", "POST"])])
    async with serve_http(app, HOST, 0, bounds) as port:
        yield port


async def opened(
    port: int, sent: bytes, source: str = HOST
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
    writer.write(sent)
    return reader, writer


async def answered(port: int, sent: bytes = WHOLE) -> bytes:
    reader, writer = await opened(port, sent)
    async with asyncio.timeout(30):
        status = await reader.readline()
    writer.close()
    return status


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
async def test_a_request_that_is_not_finished_in_time_ends(sent: bytes) -> None:
    async with serving(HASTY) as port:
        reader, writer = await opened(port, sent)
        async with asyncio.timeout(30):
            # Whoever was dropped reads an end, or a reset.
            try:
                told = await reader.read()
            except ConnectionResetError:
                told = b""
        assert told.startswith(b"HTTP/1.1 200") is sent.startswith(WHOLE)
        writer.close()


async def test_a_trickle_does_not_lengthen_it() -> None:
    async with serving(HASTY) as port:
        reader, writer = await opened(port, b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(30):
            while not reader.at_eof():
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.01)
                if reader.exception() is not None or writer.is_closing():
                    break
        writer.close()


async def test_an_answer_may_take_longer_than_a_request() -> None:
    async with serving(HASTY) as port:
        assert await answered(port, b"GET /?after=0.5 HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
async def test_however_many_are_half_open_others_are_served(sent: bytes) -> None:
    before = value_of(CUT)
    async with serving(PATIENT) as port:
        half_open = [await opened(port, sent, "127.0.0.2") for _ in range(60)]
        assert await answered(port) == b"HTTP/1.1 200 OK\r\n"
        # Two of an address may stay, an eighth of sixteen; of those that had an answer to come some may be left.
        assert await answered(port) == b"HTTP/1.1 200 OK\r\n"
        assert value_of(CUT) - before >= 36
        for _, writer in half_open:
            writer.close()


async def test_those_that_were_answered_and_stay_make_room() -> None:
    async with serving(PATIENT) as port:
        stay = [await opened(port, WHOLE) for _ in range(24)]
        for reader, _ in stay:
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert await answered(port) == b"HTTP/1.1 200 OK\r\n"
        for _, writer in stay:
            writer.close()


async def test_who_is_silent_after_an_answer_is_kept_longer_than_clients_and_proxies_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert http.KEPT_ALIVE_S > 60  # what proxies usually wait; httpx 5 s
    monkeypatch.setattr(http, "KEPT_ALIVE_S", 0.2)
    async with serving(PATIENT) as port:
        reader, _ = await opened(port, WHOLE)
        async with asyncio.timeout(30):
            assert (await reader.read()).endswith(b"here")


async def test_an_address_takes_only_its_share_from_others() -> None:
    async with serving(PATIENT) as port:
        reader, writer = await opened(port, WHOLE[:10], "127.0.0.3")
        many = [await opened(port, WHOLE[:10], "127.0.0.2") for _ in range(60)]
        writer.write(WHOLE[10:])
        async with asyncio.timeout(30):
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, each in (*many, (reader, writer)):
            each.close()


LIMITED = """
import asyncio, resource
from libs.runtime.service import run_service
from libs.runtime.settings import ServiceSettings
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))
async def main(health, stop):
    pass
run_service("example", ServiceSettings(), main)
"""


def test_a_service_raises_its_descriptors_and_says_how_many_there_are() -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 200
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert '"descriptors": 200' in done.stderr
