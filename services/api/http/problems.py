"""Errors as RFC 9457 problem details."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from libs.bus.errors import BusUnavailableError
from libs.clickhouse.client import ClickHouseError, ClickHouseUnavailableError, NotMigratedError
from libs.runtime.logging import get_logger
from services.api.domain.errors import (
    Conflict,
    Forbidden,
    IdentityRefused,
    Invalid,
    NotFound,
    Outdated,
    Refusal,
    SignInRefused,
    TooMany,
)

log = get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5

STATUS_OF: Final[dict[type[Exception], int]] = {
    Invalid: 422,
    Conflict: 409,
    Forbidden: 403,
    NotFound: 404,
    Outdated: 412,
    SignInRefused: 401,
    IdentityRefused: 401,
    TooMany: 429,
}
_MOST_ERRORS: Final = 20


class Fault(BaseModel):
    """One thing that is wrong: `path` is the JSON pointer in the body, or the name of the parameter."""

    path: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457). `permission`: what is missing, if that is the reason."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault] | None = None
    permission: str | None = None


class Unavailable(Exception):
    """Something this needs cannot do it now; the same request may succeed later."""


def problem(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    *,
    permission: str | None = None,
) -> JSONResponse:
    """The response for an error."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=list(errors) or None,
        permission=permission,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Answer every exception that leaves a handler of `app` as a problem."""
    handlers: dict[Any, Any] = {
        HTTPException: _http,
        RequestValidationError: _validation,
        Refusal: _refusal,
        Unavailable: _unavailable,
        BusUnavailableError: _bus,
        ClickHouseError: _clickhouse,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    return problem(request, error.status_code, str(error.detail), headers=error.headers)


async def _refusal(request: Request, error: Refusal) -> JSONResponse:
    errors = [] if error.path is None else [Fault(path=error.path, detail=error.detail)]
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, TooMany) else None
    missing = error.permission if isinstance(error, Forbidden) else None
    return problem(request, STATUS_OF[type(error)], error.detail, errors, headers, permission=missing)


async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = [_fault(each) for each in error.errors()[:_MOST_ERRORS]]
    detail = "; ".join(
        f"{fault.path}: {fault.detail}" if fault.path else fault.detail for fault in faults[:3]
    )
    return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults)


def _fault(error: Mapping[str, Any]) -> Fault:
    where, *path = error["loc"]
    if error["type"] == "json_invalid":
        return Fault(path="", detail=f"the body is not JSON: {error['ctx']['error']}")
    if error["type"] == "model_attributes_type" and not path:
        return Fault(path="", detail="a JSON object is needed, with Content-Type: application/json")
    text = str(error["msg"]).removeprefix("Value error, ")
    if where == "body":
        return Fault(path="".join(f"/{part}" for part in path), detail=text)
    return Fault(path=".".join(map(str, path)), detail=text)


async def _unavailable(request: Request, error: Unavailable) -> JSONResponse:
    return _later(request, str(error))


async def _bus(request: Request, error: BusUnavailableError) -> JSONResponse:
    log.warning("bus_unavailable", path=request.url.path, error=str(error))
    return _later(
        request,
        "Kafka did not acknowledge in time; whether the change was written is not known. Look, or repeat it.",
    )


def unaudited(request: Request) -> JSONResponse:
    """The answer to a request whose event is not in the audit trail."""
    return _later(
        request, "Kafka did not acknowledge the event of the audit trail in time: repeat the request"
    )


async def _clickhouse(request: Request, error: ClickHouseError) -> JSONResponse:
    if isinstance(error, ClickHouseUnavailableError):
        log.warning("clickhouse_unavailable", path=request.url.path, error=str(error))
        return _later(request, "ClickHouse, which keeps the history, does not answer now")
    if isinstance(error, NotMigratedError):
        return _later(request, "ClickHouse, which keeps the history, has no tables yet: is the sink running?")
    log.error("clickhouse_refused", path=request.url.path, error=str(error))
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the query failed; see the log")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the platform; see the log")


def _later(request: Request, detail: str) -> JSONResponse:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
