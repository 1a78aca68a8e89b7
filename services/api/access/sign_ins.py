"""Signing in and out. A browser has a token; the topic has its digest alone."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from libs.bus.errors import BusUnavailableError
from libs.events.access import SignedIn
from libs.events.ids import new_id
from libs.events.topics import ACCESS_SIGN_INS
from libs.runtime.addresses import network_of
from libs.runtime.clock import SECOND, now_us
from libs.runtime.logging import get_logger
from services.api.access.hashing import Hashing
from services.api.access.table import SIGN_IN_PREFIX, Access, digest_of
from services.api.access.tries import Tries
from services.api.domain.errors import SignInRefused, TooMany
from services.api.http.audit_entry import note
from services.api.writer import Writer

log = get_logger(__name__)

MOST: Final = 20
"""Sign-ins of one account; with another one the oldest ends."""
_LONGEST_NAME: Final = 64
_LONGEST_AGENT: Final = 200
_LONGEST_ADDRESS: Final = 64
_TIDY_S: Final = 60.0
_SETTLED: Final = 300 * SECOND


class SignIns:
    """Sign-ins of people. `access`: its tables; `lasting_s`: how long one lasts, `read_back_s`: how long a write may
    take to be shown before who waits for it goes on.

    A sign-in is not waited for by other processes: each shows it a fraction of a second after it was written.
    """

    def __init__(
        self,
        access: Access,
        writer: Writer,
        tries: Tries,
        hashing: Hashing,
        *,
        lasting_s: float,
        read_back_s: float,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._access = access
        self._writer = writer
        self._tries = tries
        self._hashing = hashing
        self._lasting = int(lasting_s * SECOND)
        self._read_back_s = read_back_s
        self._clock = clock

    async def sign_in(self, account_id: str, password: str, address: str, user_agent: str) -> str:
        """The token of a new sign-in, for the browser to keep.

        Raises SignInRefused if name and password do not fit, whatever the reason; TooMany after too many wrong ones,
        also for who has the right one; Unavailable if too many sign in; BusUnavailableError.
        """
        account_id = account_id.strip().casefold()[:_LONGEST_NAME]
        began = await self._prove(account_id, password, address)
        token = secrets.token_urlsafe(32)
        await self._begin(account_id, token, began, began, address=address, user_agent=user_agent)
        return token

    async def sign_in_for_key(
        self, account_id: str, password: str, address: str, user_agent: str
    ) -> tuple[str, SignedIn]:
        """A key of the API that lasts as long as a sign-in does, and the sign-in. Raises as `sign_in` does."""
        account_id = account_id.strip().casefold()[:_LONGEST_NAME]
        began = await self._prove(account_id, password, address)
        token = self.key_of(secrets.token_urlsafe(32))
        return token, await self._begin(
            account_id, token, began, began, address=address, user_agent=user_agent
        )

    async def admit(
        self, account_id: str, token: str, authenticated_at: int, address: str, user_agent: str
    ) -> SignedIn:
        """A sign-in with this token of a person whom an OpenID provider vouches for.

        `authenticated_at`: when the provider was given the password, 0 if that is not known.
        """
        now = self._clock()
        return await self._begin(
            account_id, token, now, min(authenticated_at, now), address=address, user_agent=user_agent
        )

    def is_used(self, token: str) -> bool:
        """Whether there is a sign-in with this token."""
        return digest_of(token) in self._access.sign_ins

    def key_of(self, secret: str) -> str:
        """A token that the API takes as a key; that of a browser it does not take."""
        return f"{SIGN_IN_PREFIX}_{secret}"

    def is_key(self, token: str) -> bool:
        """Whether a token has the form of such a key."""
        return token.startswith(f"{SIGN_IN_PREFIX}_")

    async def confirm(self, token: str, password: str, address: str) -> str:
        """The token that replaces this one, of a sign-in whose password was given just now.

        It ends when the former would have. Raises as `sign_in` does; SignInRefused also if the sign-in does not count.
        """
        former = self._access.sign_in_of(token)
        if former is None:
            raise SignInRefused
        began = await self._prove(former.account_id, password, address)
        new = secrets.token_urlsafe(32)
        await self.renew(former, new, began)
        return new

    async def renew(self, former: SignedIn, token: str, authenticated_at: int) -> None:
        """Replace a sign-in by one with this token, whose person gave the password then.

        It ends when the former would have.
        """
        now = self._clock()
        stamp = _stamp(now)
        # As old as the former: what ended that ends this.
        await self._put(
            replace(former, **stamp, sign_in_id=digest_of(token), authenticated_at=min(authenticated_at, now))
        )
        await self._end([former])

    async def sign_out(self, token: str) -> None:
        """End the sign-in of which the browser has this token; nothing if there is none."""
        found = self._access.sign_ins.get(digest_of(token))
        if found is not None:
            _note_account(found.account_id)
            await self._end([found])

    async def end_all_of(self, account_id: str) -> None:
        """End every sign-in of the account that this process knows of.

        For those that others are making set the account's `valid_after`, as `sign_out_everywhere` does.
        """
        ids = self._access.sign_ins_by_account.to(account_id).after(None, 10_000)
        await self._end([each for each in map(self._access.sign_ins.get, ids) if each is not None])

    async def run(self) -> None:
        """Every minute end what does not count any more, until cancelled."""
        while True:
            try:
                await self.tidy()
            except BusUnavailableError as error:
                log.warning("sign_ins_not_tidied", error=str(error))
            await asyncio.sleep(_TIDY_S)

    async def tidy(self) -> None:
        """End what does not count any more.

        One that was just made is left alone: its account may be on the way to the tables.
        """
        old = self._clock() - _SETTLED
        gone = [
            each
            for each in self._access.sign_ins.values()
            if each.signed_in_at < old and not self._access.holds(each)
        ]
        await self._end(gone)

    async def _prove(self, account_id: str, password: str, address: str) -> int:
        """The moment from which on the password is known to be that of the account."""
        async with self._hashing.turn():
            began = self._clock()
            network = network_of(address)
            known = any(network_of(each.address) == network for each in self._access.sign_ins_of(account_id))
            account = self._access.accounts.get(account_id)
            if account is not None:
                # Of a name without an account nothing is told: some type their password there.
                _note_account(account_id)
            if wait_s := self._tries.wait_s(account_id, address, began, known=known):
                raise TooMany(f"too many wrong passwords: try again in {wait_s} s")
            kept = None if account is None or account.disabled else account.password_hash
            if not await self._hashing.fits(password, kept):
                self._tries.spend(account_id, address, began, exists=account is not None)
                raise SignInRefused
        # An account that was changed meanwhile has a later `valid_after`: the sign-in does not count then.
        return began

    async def _begin(
        self, account_id: str, token: str, at: int, authenticated_at: int, *, address: str, user_agent: str
    ) -> SignedIn:
        record = SignedIn(
            **_stamp(at),
            sign_in_id=digest_of(token),
            account_id=account_id,
            signed_in_at=at,
            authenticated_at=authenticated_at,
            expires_at=at + self._lasting,
            address=address[:_LONGEST_ADDRESS],
            user_agent=user_agent[:_LONGEST_AGENT],
        )
        _note_account(account_id)
        await self._put(record)
        await self._end(self._access.sign_ins_of(account_id)[:-MOST])
        log.info("signed_in", account_id=account_id, address=address)
        return record

    async def _put(self, record: SignedIn) -> None:
        key = record.sign_in_id
        await self._writer.write(ACCESS_SIGN_INS, key, record)
        await self._shown(lambda: self._access.sign_ins.get(key) == record)

    async def _end(self, sign_ins: Iterable[SignedIn]) -> None:
        keys = [each.sign_in_id for each in sign_ins]
        await asyncio.gather(*(self._writer.write(ACCESS_SIGN_INS, key, None) for key in keys))
        await self._shown(lambda: not any(key in self._access.sign_ins for key in keys))

    async def _shown(self, fact: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(self._read_back_s):
                await self._access.until(fact)
        except TimeoutError:
            log.warning("read_model_late", topic=ACCESS_SIGN_INS)


def _note_account(account_id: str) -> None:
    note(account=account_id, subject_kind="account", subject_id=account_id)


def _stamp(now: int) -> dict[str, Any]:
    event_id = new_id()
    return {"event_id": event_id, "occurred_at": now, "recorded_at": now, "cause_id": event_id}
