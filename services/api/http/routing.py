"""What handlers have in common."""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Response
from pydantic_core import to_json

from services.api.http.problems import Problem
from services.api.http.strict_json import StrictRoute

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "The key is missing or wrong.",
        403: "Who asks may not do this; `permission` says what is missing.",
        404: "There is no such thing.",
        409: "It does not fit what is there.",
        422: "The request is wrong; `errors` says where.",
        429: "There is no room for it now.",
        503: "Not now; repeat later.",
    }.items()
}

ROOT: Final = "/api/v1"


def routes(tag: str) -> APIRouter:
    """The routes of one kind of resource."""
    return APIRouter(tags=[tag], responses=ERRORS, route_class=StrictRoute)


def location(*segments: str) -> str:
    """Where a thing is: a path for the header of that name."""
    return "/".join((ROOT, *(quote(segment, safe="") for segment in segments)))


async def in_thread(make: Callable[[], Any]) -> Response:
    """What `make` returns, models or lists of them, as a JSON body: of a large one others would have to wait."""
    return Response(
        await asyncio.to_thread(lambda: to_json(make(), by_alias=True)), media_type="application/json"
    )
