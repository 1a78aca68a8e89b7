"""The API over HTTP, with errors that say what to do."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_TIMEOUT_S: Final = 30.0
_PAGE: Final = 1000

Json = dict[str, Any]
Query = Mapping[str, str | int | list[str] | None]


class CliError(Exception):
    """Ends the program with status 1; the message goes to standard error."""


class NotFoundError(CliError):
    """There is no such thing."""


class Client:
    """Requests to the API at `url` with the bearer key `key`. `transport`: instead of the network."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"User-Agent": "voltbus-cli", **_bearer(key)},
            timeout=_TIMEOUT_S,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """The body of a GET. Raises CliError for everything but success, NotFoundError for 404."""
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float = 0,
    ) -> Any:
        """The body of the answer, None if it has none. `patience_s`: beyond the usual time.

        Raises CliError for everything but success.
        """
        with self._explained():
            response = self._http.request(
                method,
                path,
                json=body,
                params=_given(query),
                headers=headers,
                timeout=_TIMEOUT_S + patience_s,
            )
        if response.is_error:
            missing = response.status_code == httpx.codes.NOT_FOUND
            raise (NotFoundError if missing else CliError)(explain(response))
        return self._json(response)

    def open_request(self, method: str, path: str, body: Json | None = None, *, key: str = "") -> Any:
        """The body of the answer where no key is needed; `key`: sent in place of the client's own. Raises CliError."""
        with self._reached():
            response = self._http.request(method, path, json=body, headers=_bearer(key))
        if response.is_error:
            raise CliError(explained(response))
        return self._json(response)

    def items(self, path: str, query: Query, limit: int) -> list[Json]:
        """Up to `limit` items of a list, over as many pages as that takes."""
        found: list[Json] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.get(path, {**query, "limit": min(limit - len(found), _PAGE), "cursor": cursor})
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found

    @contextmanager
    def stream(
        self, query: Query, last_event_id: str | None
    ) -> Iterator[Iterator[tuple[str, str, str | None]]]:
        """Events of the live stream as (kind, data, id), until the server ends it.

        Raises CliError if the API refuses; httpx.TransportError if the connection breaks.
        """
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        # The server sends a heartbeat every 15 s.
        timeout = httpx.Timeout(_TIMEOUT_S, read=60)
        with self._http.stream(
            "GET", "/stream", params=_given(query), headers=headers, timeout=timeout
        ) as response:
            if response.is_error:
                response.read()
                raise CliError(explain(response))
            yield _events(response.iter_lines())

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json() if response.content else None
        except ValueError:
            raise CliError(
                f"what answers at {self.url} is not the Voltbus API: its answer is not JSON"
            ) from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        if not self._key:
            raise CliError("no key: `voltbus login`, or set VOLTBUS_API_KEY to a key of the API")
        with self._reached():
            yield

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise CliError(
                f"no API answers at {self.url} ({error}). Is it running? VOLTBUS_API_URL says where it is."
            ) from error
        except httpx.TimeoutException as error:
            raise CliError(
                f"the API at {self.url} did not answer in time; what became of it is not known"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise CliError(f"the API at {self.url}: {error or type(error).__name__}") from error


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def explain(response: httpx.Response) -> str:
    """Why the API refused, for a person who has a key."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return "the API does not take this key: `voltbus login` again, or set VOLTBUS_API_KEY to a key that counts"
    return explained(response)


def explained(response: httpx.Response) -> str:
    """What the API says is wrong."""
    try:
        problem = response.json()
        lines = [problem["detail"]]
        for error in problem.get("errors") or ():
            if error["detail"] not in lines[0]:
                lines.append(f"  {error['path'] or 'body'}: {error['detail']}")
            elif error["path"] and error["path"] not in lines[0]:
                lines.append(f"  at {error['path']}")
    except (ValueError, KeyError, TypeError):
        return f"the API answered {response.status_code} {response.reason_phrase}"
    return "\n".join(lines)


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _given(query: Query | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, str | None]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            if "event" in fields:
                yield fields["event"], fields.get("data", ""), fields.get("id")
            fields = {}


def as_json(value: Any) -> str:
    """JSON text for standard output; escapes hide nothing in a terminal."""
    return json.dumps(value, indent=2)
