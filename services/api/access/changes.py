"""Changes of accounts and keys: one at a time, decided on all that was ever written."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from libs.access.principal import Grant, Principal
from libs.access.roles import Permission
from libs.events.access import AccountDefined, KeyDefined
from libs.events.ids import new_id
from libs.events.record import UNWRITTEN
from libs.events.topics import ACCESS_ACCOUNTS, ACCESS_KEYS
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.api.access.hashing import Hashing, must_be_good
from services.api.access.sign_ins import SignIns
from services.api.access.table import PREFIX, Access, digest_of
from services.api.domain.errors import Conflict, Forbidden, Invalid, NotFound
from services.api.domain.permitted import (
    administers,
    granted,
    is_own,
    must_be_nobody_elses,
    must_be_permitted_everywhere,
    must_have_in_hand,
    must_leave_an_admin,
    recorded,
)
from services.api.domain.renewal import Stamp, removal, renewed
from services.api.registry.changes import Changes, Written

log = get_logger(__name__)

Base = Callable[[AccountDefined | None], AccountDefined]
"""Makes of the account that is there what is changed, or raises a Refusal."""

_KEY_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32


class AccessChanges:
    """What people with EDIT_ACCESS do to accounts and keys; `by` is who does it. `changes` makes them one by one.

    Every method raises Forbidden for what `by` may not do, Conflict for what does not fit, NotFound, and
    BusUnavailableError.
    """

    def __init__(
        self,
        access: Access,
        changes: Changes,
        sign_ins: SignIns,
        hashing: Hashing,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._access = access
        self._changes = changes
        self._sign_ins = sign_ins
        self._hashing = hashing
        self._clock = clock

    def account(self, by: Principal, account_id: str) -> AccountDefined:
        """The account. Raises NotFound, also if `by` has nothing to do with it."""
        found = self._access.accounts.get(account_id)
        if found is None or not (administers(by, found.grants) or is_own(by, account_id)):
            raise NotFound(f"there is no account {account_id!r}")
        return found

    def blank(self, account_id: str) -> AccountDefined:
        """An account of which nothing is configured, never written."""
        return AccountDefined(**UNWRITTEN, account_id=account_id)

    async def create_account(
        self, by: Principal, account_id: str, changes: dict[str, Any], password: str | None = None
    ) -> AccountDefined:
        """A new account. `changes`: its `display_name`, `grants` (of libs.access), `disabled`, `issuer` and `subject`;
        raises Invalid for a bad password."""

        def blank(old: AccountDefined | None) -> AccountDefined:
            if old is not None:
                raise Conflict(f"there is an account {account_id!r} already")
            return self.blank(account_id)

        if password is not None:
            must_be_good(password, account_id, changes.get("display_name", ""), "/password")
            changes = {**changes, "password_hash": await self._hashing.hashed(password)}
        return await self.change_account(by, account_id, changes, blank)

    async def change_account(
        self, by: Principal, account_id: str, changes: dict[str, Any], base: Base | None = None
    ) -> AccountDefined:
        """The account with these changes, as in `create_account`; `base`: of what, if it may be new."""
        grants = changes.get("grants")
        plain = changes if grants is None else {**changes, "grants": recorded(grants)}
        made: list[AccountDefined] = []
        ending = False

        def decide() -> Written:
            nonlocal ending
            found = self._access.accounts.get(account_id)
            seen = found if found is not None and administers(by, found.grants) else None
            old = self.account(by, account_id) if base is None else base(seen)
            if found is not None and old.event_id != found.event_id:
                # Names are of the whole platform. Whose it is, is not said.
                raise Conflict(f"there is an account {account_id!r} already")
            stamp = self._stamp(by)
            new = renewed(old, plain, stamp)
            relinked = (new.issuer, new.subject) != (old.issuer, old.subject)
            if relinked:
                # The person may be anybody of the platform, and the provider may give him any role.
                must_be_permitted_everywhere(by, Permission.EDIT_ACCESS)
            if not found or relinked or (new.disabled and not old.disabled):
                # Of an account of that name before, or until now, no sign-in comes back.
                new = replace(new, valid_after=stamp.now)
            must_have_in_hand(by, granted(old.grants))
            must_have_in_hand(by, granted(new.grants), "/grants")
            if not administers(by, new.grants):
                raise Forbidden(
                    "an account without a role in an organisation of yours needs the permission"
                    f" {Permission.EDIT_ACCESS} in all organisations",
                    Permission.EDIT_ACCESS.value,
                    "/grants",
                )
            must_leave_an_admin(by, old, new, self._access.accounts.values())
            must_be_nobody_elses(new, self._access.accounts.values())
            made[:] = [new]
            ending = new.disabled or relinked
            return {} if new is old else {ACCESS_ACCOUNTS: new}

        await self._changes.make(ACCESS_ACCOUNTS, account_id, decide)
        if ending:
            await self._sign_ins.end_all_of(account_id)
        log.info("account_changed", account_id=account_id, by=by.name, changed=sorted(changes))
        return made[0]

    async def remove_account(
        self, by: Principal, account_id: str, check: Callable[[AccountDefined], None] | None = None
    ) -> None:
        """Forget an account; its sign-ins end. `check` may refuse it as it is."""

        def decide() -> Written:
            old = self.account(by, account_id)
            if check is not None:
                check(old)
            must_have_in_hand(by, granted(old.grants))
            must_leave_an_admin(by, old, None, self._access.accounts.values())
            return {ACCESS_ACCOUNTS: removal(old, self._stamp(by))}

        await self._changes.make(ACCESS_ACCOUNTS, account_id, decide)
        await self._sign_ins.end_all_of(account_id)
        log.info("account_removed", account_id=account_id, by=by.name)

    async def set_password(
        self, by: Principal, account_id: str, password: str, path: str = "/password"
    ) -> None:
        """Give an account a password; its sign-ins end. Raises Invalid for a bad one, at `path` of the body.

        Who is signed in with the account may do so, too.
        """
        must_be_good(password, account_id, self.account(by, account_id).display_name, path)
        kept = await self._hashing.hashed(password)
        await self._sign_out(by, account_id, password_hash=kept)

    async def sign_out_everywhere(self, by: Principal, account_id: str) -> None:
        """End every sign-in of an account. Who is signed in with it may do so, too."""
        await self._sign_out(by, account_id)

    async def _sign_out(self, by: Principal, account_id: str, **changes: Any) -> None:
        def decide() -> Written:
            old = self.account(by, account_id)
            if not is_own(by, account_id):
                must_have_in_hand(by, granted(old.grants))
            stamp = self._stamp(by)
            return {ACCESS_ACCOUNTS: renewed(old, {"valid_after": stamp.now, **changes}, stamp)}

        await self._changes.make(ACCESS_ACCOUNTS, account_id, decide)
        await self._sign_ins.end_all_of(account_id)
        log.info("account_signed_out", account_id=account_id, by=by.name, changed=sorted(changes))

    async def make_key(
        self,
        by: Principal,
        name: str,
        grants: Iterable[Grant],
        *,
        expires_at: int | None = None,
        note: str = "",
    ) -> tuple[KeyDefined, str]:
        """A new key, and what to send as bearer: it is kept nowhere. `expires_at`: microseconds.

        Raises Invalid for an end that has passed.
        """
        grants = tuple(grants)
        must_have_in_hand(by, grants, "/grants")
        stamp = self._stamp(by)
        if expires_at is not None and expires_at <= stamp.now:
            raise Invalid("the key would have ended already", "/expires_at")
        key_id, secret = secrets.token_hex(_KEY_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        key = KeyDefined(
            **stamp.fields(),
            key_id=key_id,
            digest=digest_of(secret),
            name=name,
            grants=recorded(grants),
            expires_at=expires_at,
            note=note,
            created_at=stamp.now,
        )
        await self._changes.make(ACCESS_KEYS, key_id, lambda: {ACCESS_KEYS: key})
        log.info("key_made", key_id=key_id, name=name, by=by.name)
        return key, f"{PREFIX}_{key_id}_{secret}"

    async def revoke_key(self, by: Principal, key_id: str) -> KeyDefined:
        """The key, which does not count any more."""
        made: list[KeyDefined] = []

        def decide() -> Written:
            old = self._access.access_keys.get(key_id)
            if old is None or not administers(by, old.grants):
                raise NotFound(f"there is no key {key_id!r}")
            must_have_in_hand(by, granted(old.grants))
            new = old if old.revoked else replace(old, revoked=True, **self._stamp(by).fields())
            made[:] = [new]
            return {} if new is old else {ACCESS_KEYS: new}

        await self._changes.make(ACCESS_KEYS, key_id, decide)
        log.info("key_revoked", key_id=key_id, by=by.name)
        return made[0]

    def _stamp(self, by: Principal) -> Stamp:
        return Stamp(new_id(), self._clock(), 0, by.name)
