"""Id tokens: who may charge."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, status

from libs.events.registry import TokenRegistered
from services.api.context import Api, Context
from services.api.domain.errors import Invalid
from services.api.domain.identity import token_identity
from services.api.domain.paging import page_of
from services.api.domain.registry import TOKENS, renewed
from services.api.fields import Folded, micros
from services.api.models import NewToken, Page, Token, TokenQuery, TokenSettings
from services.api.routes.shared import ERRORS, existing, location, matches, must_be_new

router = APIRouter(tags=["tokens"], responses=ERRORS)


@router.get("/tokens")
async def list_tokens(api: Api, query: Annotated[TokenQuery, Query()]) -> Page[Token]:
    """Tokens by id."""

    def wanted(token: TokenRegistered) -> bool:
        return (
            (query.status is None or token.status is query.status)
            and (query.group_id is None or token.group_id == query.group_id)
            and matches(query.q, token.id_token, token.driver)
        )

    found, cursor = page_of(api.registry.tokens, wanted, query.limit, query.cursor)
    return Page(items=[Token.model_validate(token) for token in found], next_cursor=cursor)


@router.post("/tokens", status_code=status.HTTP_201_CREATED)
async def create_token(api: Api, response: Response, body: NewToken) -> Token:
    """Register a token; 409 if it is registered."""
    async with api.registry.changing(TOKENS, body.id_token):
        must_be_new(api.registry.tokens, body.id_token, "token")
        token = await _write(api, _blank(body.id_token), body, partly=False)
    response.headers["Location"] = location("tokens", body.id_token)
    return token


# A token of OCPP 1.6 may hold a slash.
@router.get("/tokens/{id_token:path}")
async def get_token(api: Api, id_token: Folded) -> Token:
    """One token."""
    return Token.model_validate(existing(api.registry.tokens, id_token, "token"))


@router.put("/tokens/{id_token:path}")
async def put_token(api: Api, response: Response, id_token: str, body: TokenSettings) -> Token:
    """Register a token, or replace what is configured of it."""
    try:
        key = token_identity(id_token)
    except ValueError as error:
        raise Invalid(str(error), "id_token") from error
    async with api.registry.changing(TOKENS, key):
        old = api.registry.tokens.get(key)
        if old is None:
            response.status_code = status.HTTP_201_CREATED
        return await _write(api, old or _blank(key), body, partly=False)


@router.patch("/tokens/{id_token:path}")
async def change_token(api: Api, id_token: Folded, body: TokenSettings) -> Token:
    """Change what the body names, nothing else."""
    async with api.registry.changing(TOKENS, id_token):
        return await _write(api, existing(api.registry.tokens, id_token, "token"), body, partly=True)


@router.delete("/tokens/{id_token:path}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_token(api: Api, id_token: Folded) -> None:
    """Forget a token; it is treated as unknown from then on."""
    async with api.registry.changing(TOKENS, id_token):
        existing(api.registry.tokens, id_token, "token")
        await api.registry.write(TOKENS, id_token, None)


async def _write(api: Context, old: TokenRegistered, body: TokenSettings, *, partly: bool) -> Token:
    changes: dict[str, Any] = body.model_dump(exclude={"id_token"}, exclude_unset=partly)
    if changes.get("valid_until") is not None:
        changes["valid_until"] = micros(changes["valid_until"])
    new = renewed(old, changes, api.registry.stamp())
    if new is not old:
        await api.registry.write(TOKENS, new.id_token, new)
    return Token.model_validate(new)


def _blank(id_token: str) -> TokenRegistered:
    return TokenRegistered(event_id="", occurred_at=0, recorded_at=0, cause_id="", id_token=id_token)
