"""The hash that seals a document about a charge: SHA-256 over the fields that the document's hash version names.

The form is the JSON Canonicalization Scheme (RFC 8785). Documents are kept for ever, so that what a hash is over never
follows from today's classes: `proto_schemas/hashes/<hash_version>.yaml` names the fields, those of the records inside
it too. A field that is added later is in no older hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from libs.events.contract import ROOT
from libs.events.sessions import BillingDocument

HASH_VERSION: Final = 2
"""The version that new documents are sealed with."""

D = TypeVar("D", bound=BillingDocument)
Fields: TypeAlias = Mapping[str, "Fields | None"]

# Its form is that of RFC 8785 for all but floats and large integers, if names are ASCII.
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_MOST_INTEGER: Final = (1 << 53) - 1
# Perhaps an integer that a double does not hold; texts may look so too. Moments do not until the year 2255.
_LARGE: Final = re.compile(rb'":-?(?:9[0-9]{15}|[0-9]{17})')


class UnknownHashVersionError(ValueError):
    """A document that a later version of the platform sealed: this one cannot tell what its hash is over."""


def sealed(document: D) -> D:
    """`document` with its hash, by the newest version."""
    bare = msgspec.structs.replace(document, hash="", hash_version=HASH_VERSION)
    return msgspec.structs.replace(bare, hash=digest(bare))


def digest(document: BillingDocument) -> str:
    """The hash that `document` has by its hash version, hexadecimal, whatever its `hash` says.

    Raises UnknownHashVersionError.
    """
    return sha256(canonical(document)).hexdigest()


def canonical(document: BillingDocument) -> bytes:
    """What the hash is over: the stated fields as canonical JSON, `hash` empty. Raises UnknownHashVersionError."""
    bare = msgspec.structs.replace(document, hash="")
    stated, whole = _stated(document.hash_version, type(document))
    text = _ENCODER.encode(bare if whole else _only(stated, bare))
    if document.hash_version == 1 or not _LARGE.search(text):
        return text
    return _ENCODER.encode(_as_doubles(_only(stated, bare)))


@cache
def _stated(hash_version: int, kind: type[BillingDocument]) -> tuple[Fields, bool]:
    """What the hash is over, and whether these are all fields of the class."""
    stated = hashed_fields(hash_version, kind.__name__)
    return stated, stated == _class_fields(kind)


def hashed_fields(hash_version: int, record: str) -> Fields:
    """What the hash of a `record` is over: the names of its fields, with those of the records inside it.

    Raises UnknownHashVersionError.
    """
    path = ROOT / "hashes" / f"{hash_version}.yaml"
    try:
        stated = msgspec.yaml.decode(path.read_bytes())[record]
    except (FileNotFoundError, KeyError):
        raise UnknownHashVersionError(
            f"this version of the platform does not know hash version {hash_version} of {record}"
        ) from None
    return _named(stated)


def _named(stated: Iterable[str | Mapping[str, list[str]]]) -> Fields:
    found: dict[str, Fields | None] = {}
    for each in stated:
        if isinstance(each, str):
            found[each] = None
        else:
            found |= {name: _named(parts) for name, parts in each.items()}
    return found


def _class_fields(kind: type[msgspec.Struct]) -> Fields:
    """Every field of a class, with those of the records inside it."""
    found: dict[str, Fields | None] = {}
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        item = getattr(field.type, "item_type", None)
        inside = item.cls if isinstance(item, msgspec.inspect.StructType) else None
        found[field.name] = None if inside is None else _class_fields(inside)
    return found


def _only(stated: Fields, record: object) -> dict[str, Any]:
    """Those fields of a record."""
    return {
        name: getattr(record, name)
        if parts is None
        else [_only(parts, each) for each in getattr(record, name)]
        for name, parts in stated.items()
    }


def _as_doubles(value: Any) -> Any:
    """Integers beyond what a double holds as text: RFC 8785 has no other form for them."""
    if isinstance(value, dict):
        return {name: _as_doubles(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_doubles(each) for each in value]
    if isinstance(value, int) and abs(value) > _MOST_INTEGER:
        return str(value)
    return value
