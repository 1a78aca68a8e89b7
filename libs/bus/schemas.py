"""The schema registry (Confluent's REST API), and the copy of its schemas that is kept on the bus.

`apply_contract` registers the contract's schemas and writes id and schema of each to the compacted topic
`contract.schemas`. Services read that topic when they start, and again when they meet a schema id that they do not
know (a newer version has been applied), so that a registry that is down stops nobody; only an id that the topic does
not have (written by another team) is asked of the registry.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
import stamina
from aiokafka.errors import KafkaError

from libs.bus import metrics
from libs.bus.connection import registry_access
from libs.bus.errors import BusUnavailableError, ContractMismatchError, SchemaUnavailableError
from libs.bus.reading import read_to_end
from libs.bus.settings import BusSettings
from libs.events.codec import Codec, CodecError
from libs.runtime.logging import get_logger

log = get_logger(__name__)

SCHEMAS_TOPIC = "contract.schemas"
COMPATIBILITY = "BACKWARD_TRANSITIVE"


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema with its id: `subject` as registered, `schema` as Avro JSON."""

    subject: str
    schema_id: int
    schema: Any


class SchemaRegistry:
    """A client of the settings' registry; use it as an async context manager.

    Every call raises BusUnavailableError if the registry does not answer within some retries, if it refuses (wrong
    credentials, too many requests), or if it answers what no registry does, as a proxy before it may.
    """

    def __init__(self, settings: BusSettings, attempts: int = 5) -> None:
        self._http = httpx.AsyncClient(
            base_url=settings.registry_url.rstrip("/") + "/", timeout=10, **registry_access(settings)
        )
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
        return RegisteredSchema(subject, _answer(response, "id"), schema)

    async def schema_by_id(self, schema_id: int) -> Any | None:
        """The schema registered as `schema_id`, None if the registry says that there is none."""
        response = await self._request("GET", f"schemas/ids/{schema_id}", None)
        if response.status_code == 404 and _answer(response, "error_code", 404) in _NO_SUCH_SCHEMA:
            return None
        try:
            return json.loads(_answer(response, "schema"))
        except (TypeError, ValueError) as error:
            raise BusUnavailableError(f"schema registry: schema {schema_id}: no JSON: {error}") from error

    async def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        try:
            async for attempt in stamina.retry_context(
                on=(httpx.RequestError, _NotNowError), attempts=self._attempts, wait_max=2
            ):
                with attempt:
                    response = await self._http.request(method, path, json=body)
                    if response.status_code >= 500 or response.status_code in _NOT_NOW:
                        raise _NotNowError(f"{response.status_code}: {response.text[:200]}")
                    return response
        except (httpx.RequestError, _NotNowError) as error:
            raise BusUnavailableError(f"schema registry: {method} {path}: {error!r}") from error
        raise AssertionError("unreachable: the loop returns or raises")


_NOT_NOW: Final = frozenset((401, 403, 408, 425, 429))
"""Answers that say nothing of what was asked about: somebody mends the credentials, or it is asked less often."""
_NO_SUCH_SCHEMA: Final = frozenset((404, 40403))
"""What a registry says in its 404. The 404 of a proxy says nothing of schemas."""


class _NotNowError(Exception):
    pass


def _answer(response: httpx.Response, field: str, status: int = 200) -> Any:
    """`field` of the answer. Raises BusUnavailableError if it is not what a registry answers."""
    try:
        if response.status_code != status:
            raise ValueError(f"status {response.status_code}")
        return response.json()[field]
    except (ValueError, KeyError, TypeError) as error:
        raise BusUnavailableError(
            f"schema registry: {response.url}: {error!r}: {response.text[:200]}"
        ) from error


async def read_schemas(settings: BusSettings) -> list[RegisteredSchema]:
    """The schemas on the bus. Raises KafkaError, or ContractMismatchError if their topic is not there.

    A record that is no schema is passed over: it must not keep services from starting.
    """
    found: dict[bytes, RegisteredSchema] = {}
    async for message in read_to_end(settings, SCHEMAS_TOPIC):
        try:
            found[message.key] = _decode_schema(message.value or b"")
        except msgspec.DecodeError as error:
            log.error("schema_record_unreadable", offset=message.offset, error=str(error))
    return list(found.values())


_decode_schema: Final = msgspec.json.Decoder(RegisteredSchema).decode


def add_schemas(codec: Codec, schemas: Iterable[RegisteredSchema]) -> None:
    """Add to `codec` every schema that it does not know yet, except those that it does not understand."""
    for schema in schemas:
        if codec.knows(schema.schema_id):
            continue
        try:
            codec.add_schema(schema.schema_id, schema.schema)
        except CodecError as error:
            # Whoever reads its values says so; the others are none the worse for it.
            log.warning("schema_not_understood", schema_id=schema.schema_id, error=str(error))
        else:
            log.debug("schema_learnt", schema_id=schema.schema_id, subject=schema.subject)


REREAD_S: Final = 1.0
"""Least time between two looks at the schemas on the bus."""
REMEMBER_S: Final = 10.0
"""How long it counts that nobody knows a schema id: a flood of such values must not become a flood of requests."""
REMEMBERED_IDS: Final = 1_000


class SchemaLookup:
    """Fetches schemas that `codec` does not know: from the bus, else from `registry`."""

    def __init__(
        self,
        settings: BusSettings,
        registry: SchemaRegistry,
        codec: Codec,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._codec = codec
        self._clock = clock
        self._sleep = sleep
        self._asking = asyncio.Lock()
        self._read_at = float("-inf")
        self._unknown_until: dict[int, float] = {}

    async def fetch(self, schema_id: int) -> None:
        """Make `codec` know `schema_id`.

        Raises CodecError if neither bus nor registry has it or it holds no records, SchemaUnavailableError if that
        cannot be told now.
        """
        async with self._asking:
            if self._codec.knows(schema_id):
                return
            if self._unknown_until.get(schema_id, 0.0) <= self._clock():
                await self._ask(schema_id)
            if not self._codec.knows(schema_id):
                raise CodecError(f"schema id {schema_id} is not registered")

    async def _ask(self, schema_id: int) -> None:
        found = metrics.SCHEMA_LOOKUPS
        try:
            read_now = await self._read_bus()
            if self._codec.knows(schema_id):
                found.labels("bus").inc()
                return
            schema = await self._registry.schema_by_id(schema_id)
            if schema is None and not read_now:
                # It may have been applied since, and a registry's replica may lag behind what is on the bus.
                await self._sleep(self._read_at + REREAD_S - self._clock())
                await self._read_bus()
                if self._codec.knows(schema_id):
                    found.labels("bus").inc()
                    return
        except BusUnavailableError as error:
            found.labels("unavailable").inc()
            raise SchemaUnavailableError(schema_id, str(error)) from error
        if schema is not None:
            self._codec.add_schema(schema_id, schema)
            found.labels("registry").inc()
            log.info("schema_learnt", schema_id=schema_id)
            return
        found.labels("nowhere").inc()
        self._unknown_until.pop(schema_id, None)
        self._unknown_until[schema_id] = self._clock() + REMEMBER_S
        if len(self._unknown_until) > REMEMBERED_IDS:
            del self._unknown_until[next(iter(self._unknown_until))]

    async def _read_bus(self) -> bool:
        """Add the schemas on the bus; False if it was read a moment ago, and is not now."""
        if self._clock() < self._read_at + REREAD_S:
            return False
        try:
            schemas = await read_schemas(self._settings)
        except (KafkaError, ContractMismatchError) as error:
            raise BusUnavailableError(f"schemas on the bus: {error!r}") from error
        self._read_at = self._clock()
        add_schemas(self._codec, schemas)
        return True
