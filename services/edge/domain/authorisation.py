"""Whether an id token may charge."""

from typing import Final

import msgspec

from libs.events.registry import TokenStatus
from services.edge.domain.rules import ReadModels, UnknownTokens

NO_AUTHORIZATION: Final = "NoAuthorization"


class Verdict(msgspec.Struct, frozen=True):
    """What a station is told of a token. `valid_until`: microseconds."""

    status: TokenStatus
    valid_until: int | None = None
    group_id: str | None = None


_ACCEPTED: Final = Verdict(TokenStatus.ACCEPTED)
_INVALID: Final = Verdict(TokenStatus.INVALID)


def authorise(models: ReadModels, id_token: str, now: int, token_type: str | None = None) -> Verdict:
    """Judge a token by the registry. Tokens differ neither by case (CiString) nor by type.

    `token_type` is that of OCPP 2.x: `NoAuthorization` stands for "no token is needed here" and is accepted.
    """
    if token_type == NO_AUTHORIZATION:
        return _ACCEPTED
    token = models.tokens.get(id_token.casefold())
    if token is None:
        return _ACCEPTED if models.rules.unknown_tokens is UnknownTokens.ACCEPT else _INVALID
    status = token.status
    if status is TokenStatus.ACCEPTED and token.valid_until is not None and token.valid_until <= now:
        status = TokenStatus.EXPIRED
    return Verdict(status, token.valid_until, token.shown_group)
