"""Accounts, keys and sign-ins in memory, as their topics have them: who is it that asks?"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Final, cast

from libs.access.principal import Principal
from libs.bus.tables import TableSet
from libs.events.access import AccountDefined, KeyDefined, SignedIn
from libs.events.record import Record
from libs.events.topics import ACCESS_ACCOUNTS, ACCESS_KEYS, ACCESS_SIGN_INS
from libs.runtime.clock import now_us
from services.api.domain.index import References, SortedKeys
from services.api.domain.permitted import granted

TABLES: Final = (ACCESS_ACCOUNTS, ACCESS_KEYS, ACCESS_SIGN_INS)
CHANGED: Final = (ACCESS_ACCOUNTS, ACCESS_KEYS)
"""What is changed by one process at a time; of sign-ins each is its own."""

PREFIX: Final = "vb"
"""A key is written vb_<key_id>_<secret>."""
SIGN_IN_PREFIX: Final = "vbs"
"""The key of a person who signed in at the command line is written vbs_<secret>."""


def digest_of(secret: str) -> str:
    """What is kept of a key's secret, or of a sign-in's token: 64 hex digits."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()


class Access:
    """The tables of access by key (`tables` holds TABLES), and whom keys and sign-ins belong to.

    `keys`: the keys of accounts and of keys, sorted. What is revoked does not count from the moment on at which the
    tables show it, a fraction of a second after it was written by any process.
    """

    def __init__(self, tables: TableSet, clock: Callable[[], int] = now_us) -> None:
        self.accounts = cast(Mapping[str, AccountDefined], tables[ACCESS_ACCOUNTS])
        self.access_keys = cast(Mapping[str, KeyDefined], tables[ACCESS_KEYS])
        self.sign_ins = cast(Mapping[str, SignedIn], tables[ACCESS_SIGN_INS])
        self.keys = {topic: SortedKeys() for topic in CHANGED}
        self.sign_ins_by_account = References()
        self._clock = clock
        self._news = asyncio.Event()
        for topic in TABLES:
            tables.on_change(topic, partial(self._note, topic))

    def principal_of_key(self, key: str) -> Principal | None:
        """Whose key this is, and what it permits; None if there is no such key, or it does not count any more."""
        prefix, _, rest = key.partition("_")
        if prefix == SIGN_IN_PREFIX:
            return self.principal_of_sign_in(key)
        key_id, _, secret = rest.partition("_")
        if prefix != PREFIX or not secret:
            return None
        entry = self.access_keys.get(key_id)
        # All in the same time, whether there is such a key or not.
        right = hmac.compare_digest(digest_of(secret), digest_of("") if entry is None else entry.digest)
        if entry is None or not right or not counts(entry, self._clock()):
            return None
        return Principal(entry.name, granted(entry.grants), key_id=key_id)

    def principal_of_sign_in(self, token: str) -> Principal | None:
        """Who has signed in with what the browser has; None if that does not count any more.

        Roles are those that the account has now. `authenticated_at`: when the password was given last.
        """
        signed_in = self.sign_in_of(token)
        if signed_in is None:
            return None
        account = self.accounts[signed_in.account_id]
        return Principal(account.account_id, granted(account.grants), signed_in.authenticated_at)

    def sign_in_of(self, token: str) -> SignedIn | None:
        """The sign-in of which the browser has this token, if it counts."""
        found = self.sign_ins.get(digest_of(token))
        return found if found is not None and self.holds(found) else None

    def holds(self, signed_in: SignedIn) -> bool:
        """Whether a sign-in counts: it is not over, its account is there and neither disabled nor signed out since."""
        account = self.accounts.get(signed_in.account_id)
        return (
            account is not None
            and not account.disabled
            and signed_in.signed_in_at >= account.valid_after
            and self._clock() < signed_in.expires_at
        )

    def sign_ins_of(self, account_id: str) -> list[SignedIn]:
        """All sign-ins of an account that count, the oldest first."""
        ids = self.sign_ins_by_account.to(account_id).after(None, 10_000)
        found = [each for each in map(self.sign_ins.get, ids) if each is not None and self.holds(each)]
        return sorted(found, key=lambda each: each.signed_in_at)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until the tables say so."""
        while not fact():
            self._news.clear()
            await self._news.wait()

    def _note(self, topic: str, key: str, record: Record | None) -> None:
        if topic == ACCESS_SIGN_INS:
            self.sign_ins_by_account.put(key, (record.account_id,) if isinstance(record, SignedIn) else ())
        elif record is None:
            self.keys[topic].discard(key)
        else:
            self.keys[topic].add(key)
        self._news.set()


def counts(key: KeyDefined, now: int) -> bool:
    """Whether a key is neither revoked nor past its end."""
    return not key.revoked and (key.expires_at is None or now < key.expires_at)
