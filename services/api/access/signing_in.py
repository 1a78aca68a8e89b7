"""Signing in at the command line: a key that lasts as long as a sign-in does."""

from typing import Annotated, Final, Self

from fastapi import Depends, HTTPException, Request, Response, status
from pydantic import Field, SecretStr, StringConstraints, model_validator

from services.api.context import Context
from services.api.domain.errors import Invalid
from services.api.http.fields import Input, Output, Time
from services.api.http.middleware import address_of, bearer_of
from services.api.http.routing import ROOT, routes

router = routes("access")

OPEN: Final = (f"{ROOT}/sign-in", f"{ROOT}/sign-out")
"""Paths that need no key."""

_LONGEST_TOKEN: Final = 32 << 10


async def open_context_of(request: Request) -> Context:
    """The context, for whoever asks."""
    context: Context = request.app.state.context
    return context


Open = Annotated[Context, Depends(open_context_of)]
Token = Annotated[SecretStr, Field(max_length=_LONGEST_TOKEN)]


class DeviceClient(Output):
    """How a command line gets an ID token: by the device grant (RFC 8628) of the provider `issuer`."""

    issuer: str
    client_id: str
    scopes: str


class WaysIn(Output):
    """How people sign in. `provider`: null if only with a password."""

    provider: DeviceClient | None


class NewSignIn(Input):
    """Name and password of an account, or an ID token that the provider gave the command line just now.

    `access_token`: given with the ID token, for what that does not say of the person.
    """

    account_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    password: SecretStr | None = None
    id_token: Token | None = None
    access_token: Token | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_password = self.account_id is not None and self.password is not None
        some_of_it = self.account_id is not None or self.password is not None
        by_token = self.id_token is not None
        if by_password == by_token or (by_token and some_of_it) or (by_password and self.access_token):
            raise ValueError("account_id and password, or id_token")
        return self


class SignIn(Output):
    """A sign-in. `key`: what to send as bearer; it is shown here and never again."""

    account_id: str
    expires_at: Time
    key: str


@router.get("/sign-in")
async def get_ways_in(api: Open) -> WaysIn:
    """How to sign in. Needs no key."""
    settings = api.settings
    if api.provider is None or not settings.oidc_cli_client_id:
        return WaysIn(provider=None)
    return WaysIn(
        provider=DeviceClient(
            issuer=settings.oidc_issuer, client_id=settings.oidc_cli_client_id, scopes=settings.oidc_scopes
        )
    )


@router.post("/sign-in", status_code=status.HTTP_201_CREATED)
async def sign_in(api: Open, request: Request, response: Response, body: NewSignIn) -> SignIn:
    """A key of the account, with the roles that it has at each request; it ends as a sign-in at the console does.

    Needs no key. 401 if name and password do not fit, or the ID token is refused.
    """
    address, agent = address_of(request.scope), request.headers.get("user-agent", "")
    if body.id_token is None:
        assert body.account_id is not None
        assert body.password is not None
        password = body.password.get_secret_value()
        key, made = await api.sign_ins.sign_in_for_key(body.account_id, password, address, agent)
    else:
        if api.provider is None or not api.settings.oidc_cli_client_id:
            raise Invalid("people sign in by password only", "/id_token")
        access_token = "" if body.access_token is None else body.access_token.get_secret_value()
        key, made = await api.provider.exchange(
            body.id_token.get_secret_value(), access_token, address, agent
        )
    response.headers["Cache-Control"] = "no-store"
    return SignIn.model_validate({"account_id": made.account_id, "expires_at": made.expires_at, "key": key})


@router.post("/sign-out", status_code=status.HTTP_204_NO_CONTENT)
async def sign_out(api: Open, request: Request) -> None:
    """End the sign-in whose key is sent as bearer; 401 if that is none, or counts no more."""
    key = (bearer_of(request.scope) or b"").decode("ascii", "replace")
    if not api.sign_ins.is_key(key) or api.access.sign_in_of(key) is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "the key is none of a sign-in that counts")
    await api.sign_ins.sign_out(key)
