"""A browser without scripts: it keeps cookies as browsers do, and follows where it is sent."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any, Final

import httpx

_OF_NAVIGATION: Final = {"sec-fetch-site": "same-origin"}


class Visitor:
    """`console`: the console's address. `cookies` may be looked at and changed. The console takes loopback for safe, as
    browsers do: `Secure` cookies are sent there.
    """

    def __init__(self, http: httpx.AsyncClient, console: str) -> None:
        self.http = http
        self.console = console
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    async def ask(self, url: str, method: str = "GET", **options: Any) -> httpx.Response:
        """One request; the console's cookies are sent to the console only."""
        own = url.startswith("/") or url.startswith(self.console)
        full = f"{self.console}{url}" if url.startswith("/") else url
        headers = dict(_OF_NAVIGATION)
        if own and self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.http.request(method, full, headers=headers, **options)
        if own:
            for line in answer.headers.get_list("set-cookie"):
                self.set.append(line)
                for name, morsel in SimpleCookie(line).items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.value
        return answer

    async def sent_on(self, url: str) -> str:
        """Where a request is redirected to."""
        answer = await self.ask(url)
        assert answer.is_redirect, (url, answer.status_code, answer.text[:500])
        return str(answer.headers["location"])
