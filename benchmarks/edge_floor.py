"""A bare `websockets` server that answers every call with the same words: what the sockets alone cost. `... PORT`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol


async def handle(socket: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in socket:
            assert isinstance(message, str)
            await socket.send(f'[3,"{message.split(chr(34), 2)[1]}",{{"transactionId":1}}]')


async def main(port: int) -> None:
    async with serve(
        handle, "127.0.0.1", port, subprotocols=[Subprotocol("ocpp1.6")], compression=None
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1])))
