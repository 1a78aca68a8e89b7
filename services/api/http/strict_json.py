"""Bodies are JSON by the letter (RFC 8259): UTF-8, without NaN and lone surrogates, bounded in depth and numbers."""

import json
from collections.abc import Callable
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

DEEPEST: Final = 32
"""Objects and lists in each other; no body of this API has half as many."""
_LARGEST: Final = 2**63
"""Numbers are smaller: larger ones are not stored, and other readers take them for something else."""


class StrictRoute(APIRoute):
    """Reads bodies with `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """As FastAPI wants it."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            response: Response = await handler(_StrictRequest(request.scope, request.receive))
            return response

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def read_json(body: bytes) -> Any:
    """The value of a JSON text. Raises json.JSONDecodeError for what is none, is too deep, or has too large a number.

    NaN and lone surrogates are no JSON.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise json.JSONDecodeError(error.msg, "", error.pos) from error
    left = [(value, 0)]
    while left:
        part, depth = left.pop()
        if isinstance(part, dict | list):
            if depth == DEEPEST:
                raise json.JSONDecodeError(f"objects and lists more than {DEEPEST} deep", "", 0)
            inner = part.values() if isinstance(part, dict) else part
            left.extend((each, depth + 1) for each in inner)
        elif isinstance(part, int | float) and not -_LARGEST < part < _LARGEST:
            raise json.JSONDecodeError("a number beyond 64 bits", "", 0)
    return value
