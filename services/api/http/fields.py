"""Types of fields that many bodies share. Times are RFC 3339 text outside and microseconds inside."""

import re
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from libs.ocpp.versions import MAX_IDENTITY_LENGTH, station_identity
from libs.runtime.clock import moment_of
from libs.tariffs.documents import TermsDocument
from services.api.domain.token_ids import MAX_TOKEN_LENGTH, written_token

_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_LAST: Final = 253_402_300_799_000_000
"""The last second of the year 9999, beyond which datetime has no word."""

MAX_CURRENT_MA: Final = 10_000_000


class Input(BaseModel):
    """A request body: unknown fields are errors, not silence."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """A response body, made from a record's attributes or from a mapping."""

    model_config = ConfigDict(from_attributes=True)


def _from_micros(value: Any) -> Any:
    if type(value) is int:
        value = min(max(value, 0), _LAST)
        return moment_of(value)
    return value


def _written_out(value: Any) -> Any:
    # pydantic would take "1700000000" for a moment, too, and guess its unit.
    if not isinstance(value, str) or not _RFC3339.match(value):
        raise ValueError("a moment is written like 2026-05-01T08:00:00Z")
    return value


def _since_1970(value: datetime) -> datetime:
    if value.year < 1970:
        raise ValueError("no moment before 1970")
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not an IANA time zone") from None
    return name


def _in_place(schema: Any, named: Any) -> Any:
    """A JSON schema with what it refers to put where it is referred to; nothing in it may contain itself."""
    if isinstance(schema, list):
        return [_in_place(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _in_place(named[schema["$ref"].rpartition("/")[2]], named)
    return {key: _in_place(value, named) for key, value in schema.items() if key != "$defs"}


_TERMS: Final = msgspec.json.schema(TermsDocument)

Time = Annotated[datetime, BeforeValidator(_from_micros)]
"""A moment in an answer."""

Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_since_1970)]
"""A moment in a request; its zone must be given."""

Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$")]
"""Text for people: one line, no control characters."""

Label = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
"""Id of a site or tariff: letters, digits, dot, underscore, hyphen; case counts."""

OrganisationId = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")
]
"""Id of an organisation: small letters, digits, underscore, hyphen."""
OrganisationOrNone = Annotated[str, StringConstraints(max_length=64, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")]
"""The same; empty: none."""

StationId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_IDENTITY_LENGTH),
    AfterValidator(station_identity),
    Field(
        description="As the charger connects; case does not count. Kept case-folded.", examples=["cp-0001"]
    ),
]
WrittenTokenId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TOKEN_LENGTH),
    AfterValidator(written_token),
    Field(description="Case does not count, and is kept as it is written here.", examples=["04A1B2C3D4"]),
]
Folded = Annotated[str, AfterValidator(str.casefold)]
"""A station or token that is asked for."""

Zone = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_zone), Field(examples=["Europe/Berlin"])
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(description="ISO 4217.")]
Price = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=10_000_000_000,
        description="Thousandths of a minor currency unit per kWh: 45670 is 45.67 cents.",
    ),
]
Terms = Annotated[dict[str, Any], WithJsonSchema(_in_place(_TERMS, _TERMS["$defs"]))]
"""Terms of a tariff as people write them; checked once their currency is known."""

Milliampere = Annotated[int, Field(strict=True, ge=0, le=MAX_CURRENT_MA, description="Per phase.")]
Flag = Annotated[bool, Field(strict=True)]

IdempotencyKey = Annotated[
    str | None,
    Field(min_length=1, max_length=200, description="The same key for the same thing is the same request."),
]
