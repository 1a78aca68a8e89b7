"""Keys of programs and people."""

from typing import Annotated

from fastapi import Query, Response, status
from pydantic import Field, StringConstraints

from libs.access.roles import Permission
from libs.events.access import KeyDefined
from libs.events.topics import ACCESS_KEYS
from libs.runtime.clock import micros, now_us
from services.api.access.accounts import Grants, RoleGrant, must_be_organisations, shown_grants
from services.api.access.names import OwnName
from services.api.access.table import counts
from services.api.context import Api
from services.api.domain.permitted import administers
from services.api.http.fields import Folded, Input, Moment, Output, Text, Time
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import location, routes

router = routes("access")

_EDIT = needs(Permission.EDIT_ACCESS)


class NewKey(Input):
    """A key to be made."""

    name: Annotated[OwnName, StringConstraints(min_length=1)] = Field(
        description="Whose key it is: what is asked for with it carries this name."
    )
    grants: Annotated[Grants, Field(min_length=1)]
    expires_at: Moment | None = None
    note: Text = ""


class Key(Output):
    """A key, without its secret. `counts`: it is neither revoked nor past its end."""

    key_id: str
    name: str
    grants: list[RoleGrant]
    created_at: Time
    expires_at: Time | None
    revoked: bool
    counts: bool
    note: str
    changed_by: str


class MadeKey(Key):
    """A new key. `key`: what to send as bearer. It is shown here and never again."""

    key: str


class KeyQuery(ListQuery):
    """Filters of keys."""

    q: Folded | None = Field(None, description="Part of the name or note.")
    counts: bool | None = Field(None, description="Only those that count, or only those that do not.")


@router.get("/keys", dependencies=_EDIT)
async def list_keys(api: Api, query: Annotated[KeyQuery, Query()]) -> Page[Key]:
    """Keys by id. Those of the settings are not among them."""

    def found(key_id: str) -> Key | None:
        entry = api.access.access_keys.get(key_id)
        if entry is None or not administers(api.principal, entry.grants):
            return None
        if not matches(query.q, entry.name, entry.note):
            return None
        key = shown_key(entry, now_us())
        return key if query.counts in (None, key.counts) else None

    items, cursor = await page_of([api.access.keys[ACCESS_KEYS]], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/keys", status_code=status.HTTP_201_CREATED, dependencies=_EDIT)
async def make_key(api: Api, response: Response, body: NewKey) -> MadeKey:
    """Make a key; the answer alone has it. Nobody gives a role that may do what he may not do himself."""
    must_be_organisations(api, body.grants)
    entry, key = await api.access_changes.make_key(
        api.principal,
        body.name,
        [each.grant for each in body.grants],
        expires_at=None if body.expires_at is None else micros(body.expires_at),
        note=body.note,
    )
    response.headers["Location"] = location("keys", entry.key_id)
    response.headers["Cache-Control"] = "no-store"
    return MadeKey(**dict(shown_key(entry, now_us())), key=key)


@router.delete("/keys/{key_id}", dependencies=_EDIT)
async def revoke_key(api: Api, key_id: str) -> Key:
    """Revoke a key: every process refuses it within a second, and ends its event streams. It stays in the list."""
    return shown_key(await api.access_changes.revoke_key(api.principal, key_id), now_us())


def shown_key(entry: KeyDefined, now: int) -> Key:
    """A key without its digest. Roles of a newer release are not shown."""
    return Key.model_validate(
        {
            "key_id": entry.key_id,
            "name": entry.name,
            "grants": shown_grants(entry.grants),
            "created_at": entry.created_at,
            "expires_at": entry.expires_at,
            "revoked": entry.revoked,
            "counts": counts(entry, now),
            "note": entry.note,
            "changed_by": entry.changed_by,
        }
    )
