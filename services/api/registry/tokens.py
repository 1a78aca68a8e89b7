"""Id tokens: who may charge."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Response, status
from msgspec.structs import replace
from pydantic import Field

from libs.access.roles import Permission
from libs.events.record import UNWRITTEN
from libs.events.registry import TokenRegistered, TokenStatus
from libs.events.topics import REGISTRY_TOKENS
from libs.runtime.clock import micros
from services.api.context import Api
from services.api.domain.errors import Invalid
from services.api.domain.renewal import Stamp, joined, renewed
from services.api.domain.token_ids import token_identity
from services.api.http.fields import Folded, Moment, Output, Text, Time, WrittenTokenId
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs
from services.api.http.routing import routes
from services.api.registry.entries import CONDITIONAL, Entries, IfMatch, Owned
from services.api.registry.table import Registry

router = routes("tokens")

TokenType = Literal[
    "Central",
    "DirectPayment",
    "eMAID",
    "EVCCID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "VIN",
]


class TokenSettings(Owned):
    """What operators say about an id token."""

    type: TokenType = "ISO14443"
    status: TokenStatus = TokenStatus.ACCEPTED
    valid_until: Moment | None = None
    group_id: WrittenTokenId | None = None
    driver: Text = ""


class NewToken(TokenSettings):
    """A token to be created."""

    id_token: WrittenTokenId


class Token(Output):
    """An id token as configured."""

    id_token: str
    type: str
    status: str
    valid_until: Time | None
    group_id: str | None
    driver: str
    organisation_id: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class TokenQuery(ListQuery):
    """Filters of tokens."""

    status: TokenStatus | None = None
    group_id: Folded | None = None
    q: Folded | None = Field(None, description="Part of the token or driver.")


class Tokens(Entries[TokenRegistered, TokenSettings, Token]):
    """The id tokens."""

    topic, path, kind, edits = REGISTRY_TOKENS, "tokens", "token", Permission.EDIT_TOKENS

    def table(self, registry: Registry) -> Mapping[str, TokenRegistered]:
        """By folded id."""
        return registry.tokens

    def blank(self, key: str) -> TokenRegistered:
        """Of nobody."""
        return TokenRegistered(**UNWRITTEN, id_token=key)

    def changed(
        self, registry: Registry, old: TokenRegistered, body: TokenSettings, stamp: Stamp, *, partly: bool
    ) -> TokenRegistered:
        """Field by field."""
        changes: dict[str, Any] = body.model_dump(
            exclude={"id_token", "organisation_id"}, exclude_unset=partly
        )
        if isinstance(body, NewToken) and not old.written:
            changes["written"] = _unless_folded(body.id_token)
        if changes.get("valid_until") is not None:
            changes["valid_until"] = micros(changes["valid_until"])
        if "group_id" in changes:
            group = changes["group_id"]
            changes["group_written"] = _unless_folded(group or "")
            changes["group_id"] = None if group is None else group.casefold()
            changes["groups"] = joined(old, changes["group_id"], stamp)
        return renewed(old, changes, stamp)

    def shown(self, registry: Registry, entry: TokenRegistered, now: int) -> Token:
        """Ids as they were entered."""
        return _shown(entry)


def _unless_folded(text: str) -> str:
    return "" if text == text.casefold() else text


def _shown(token: TokenRegistered) -> Token:
    return Token.model_validate(replace(token, id_token=token.shown_id, group_id=token.shown_group))


_TOKENS = Tokens()


@router.get("/tokens", dependencies=needs(Permission.READ_TOKENS))
async def list_tokens(api: Api, query: Annotated[TokenQuery, Query()]) -> Page[Token]:
    """Tokens by id."""

    def found(key: str) -> Token | None:
        token = api.registry.tokens.get(key)
        if token is None or (query.status is not None and token.status is not query.status):
            return None
        return _shown(token) if matches(query.q, token.id_token, token.driver) else None

    registry = api.registry
    keys = (
        registry.keys[REGISTRY_TOKENS]
        if query.group_id is None
        else registry.tokens_by_group.to(query.group_id)
    )
    items, cursor = await page_of([keys], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post("/tokens", dependencies=needs(Permission.EDIT_TOKENS), status_code=status.HTTP_201_CREATED)
async def create_token(api: Api, response: Response, body: NewToken) -> Token:
    """Register a token; 409 if it is registered."""
    return await _TOKENS.create(api, response, token_identity(body.id_token), body)


# A token of OCPP 1.6 may hold a slash.
@router.get("/tokens/{id_token:path}", dependencies=needs(Permission.READ_TOKENS))
async def get_token(api: Api, response: Response, id_token: Folded) -> Token:
    """One token."""
    return _TOKENS.get(api, response, id_token)


@router.put("/tokens/{id_token:path}", dependencies=needs(Permission.EDIT_TOKENS), responses=CONDITIONAL)
async def put_token(
    api: Api, response: Response, id_token: str, body: TokenSettings, if_match: IfMatch = None
) -> Token:
    """Register a token, or replace what is configured of it."""
    try:
        key = token_identity(id_token)
    except ValueError as error:
        raise Invalid(str(error), "id_token") from error
    named = NewToken.model_construct(id_token=id_token, **dict(body))
    return await _TOKENS.put(api, response, key, named, if_match)


@router.patch("/tokens/{id_token:path}", dependencies=needs(Permission.EDIT_TOKENS), responses=CONDITIONAL)
async def change_token(
    api: Api, response: Response, id_token: Folded, body: TokenSettings, if_match: IfMatch = None
) -> Token:
    """Change what the body names, nothing else."""
    return await _TOKENS.patch(api, response, id_token, body, if_match)


@router.delete(
    "/tokens/{id_token:path}",
    dependencies=needs(Permission.EDIT_TOKENS),
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
)
async def delete_token(api: Api, id_token: Folded, if_match: IfMatch = None) -> None:
    """Forget a token; it is treated as unknown from then on."""
    await _TOKENS.delete(api, id_token, if_match)
