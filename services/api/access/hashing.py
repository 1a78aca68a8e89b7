"""Passwords of people: what they may be, and their hashes."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.api.domain.errors import Invalid
from services.api.http.problems import Unavailable

SHORTEST: Final = 12
LONGEST: Final = 128
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 50


def must_be_good(password: str, account_id: str, display_name: str, path: str) -> None:
    """Raises Invalid for a password that is too short, too long, or the account's name."""
    if not SHORTEST <= len(_plain(password)) <= LONGEST:
        raise Invalid(f"a password has {SHORTEST} to {LONGEST} characters", path)
    if _plain(password).casefold() in {account_id.casefold(), _plain(display_name).casefold()}:
        raise Invalid("the password must not be the account's name", path)


class Hashing:
    """Argon2id in threads: two at a time, so that many sign-ins take neither all cores nor much memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        # 32 MiB and 3 passes: more than the 19 MiB and 2 passes that OWASP asks for.
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=32 << 10, parallelism=1)
        self._nobodys = self._hasher.hash("")
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._inside = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn. Raises Unavailable if too many wait."""
        if self._inside >= _MOST_WAITING:
            raise Unavailable("too many passwords are being checked: try again later")
        self._inside += 1
        try:
            async with self._free:
                yield
        finally:
            self._inside -= 1

    async def hashed(self, password: str) -> str:
        """The hash, in PHC form."""
        async with self.turn():
            return await asyncio.to_thread(self._hasher.hash, _plain(password))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether `kept` is a hash of the password; None never is, and takes as long. To be called in a `turn`."""
        right = await asyncio.to_thread(self._fits, _plain(password)[: LONGEST + 1], kept or self._nobodys)
        return right and kept is not None

    def _fits(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


def _plain(password: str) -> str:
    """As keyboards differ in how they compose a letter."""
    return unicodedata.normalize("NFKC", password)
