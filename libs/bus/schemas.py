"""The schema registry (Confluent's REST API), and the copy of its schemas that is kept on the bus.

`apply_contract` registers the contract's schemas and writes id and schema of each to the compacted topic
`contract.schemas`. Services read that topic when they start, so that a registry that is down stops nobody; only
a schema id that the topic does not know (written by another team) is asked of the registry.
"""

import json
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
import stamina

from libs.bus.errors import BusUnavailableError, ContractMismatchError

SCHEMAS_TOPIC = "contract.schemas"
COMPATIBILITY = "BACKWARD_TRANSITIVE"


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema with its id: `subject` as registered, `schema` as Avro JSON."""

    subject: str
    schema_id: int
    schema: Any


class SchemaRegistry:
    """A client of the registry at `url`; use it as an async context manager.

    Every call raises BusUnavailableError if the registry does not answer within some retries.
    """

    def __init__(self, url: str, attempts: int = 5) -> None:
        self._http = httpx.AsyncClient(base_url=url.rstrip("/") + "/", timeout=10)
        self._attempts = attempts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def register(self, subject: str, schema: Any) -> RegisteredSchema:
        """Register `schema` under `subject` with BACKWARD_TRANSITIVE compatibility; the same schema keeps its id.

        Raises ContractMismatchError for a schema that is not compatible with an earlier one.
        """
        await self._request("PUT", f"config/{subject}", {"compatibility": COMPATIBILITY})
        response = await self._request(
            "POST", f"subjects/{subject}/versions", {"schema": json.dumps(schema), "schemaType": "AVRO"}
        )
        if response.status_code in (409, 422):
            raise ContractMismatchError(f"{subject}: refused by the schema registry: {response.text[:500]}")
        response.raise_for_status()
        return RegisteredSchema(subject, response.json()["id"], schema)

    async def is_compatible(self, subject: str, schema: Any) -> bool:
        """Whether `schema` could be registered under `subject` now."""
        response = await self._request(
            "POST", f"compatibility/subjects/{subject}/versions", {"schema": json.dumps(schema)}
        )
        response.raise_for_status()
        return bool(response.json()["is_compatible"])

    async def schema_by_id(self, schema_id: int) -> Any | None:
        """The schema registered as `schema_id`, None if there is none."""
        response = await self._request("GET", f"schemas/ids/{schema_id}", None)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return json.loads(response.json()["schema"])

    async def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        try:
            async for attempt in stamina.retry_context(
                on=(httpx.TransportError, _ServerError), attempts=self._attempts, wait_max=2
            ):
                with attempt:
                    response = await self._http.request(method, path, json=body)
                    if response.status_code >= 500:
                        raise _ServerError(f"{response.status_code}: {response.text[:200]}")
                    return response
        except (httpx.TransportError, _ServerError) as error:
            raise BusUnavailableError(f"schema registry: {method} {path}: {error}") from error
        raise AssertionError("unreachable: the loop returns or raises")


class _ServerError(Exception):
    pass
