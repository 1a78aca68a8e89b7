"""The hash of documents about charges holds for ever, and others can compute it.

The second implementation here shares nothing with ours but the published lists of fields: other readers of JSON and
YAML, and RFC 8785 by its Python package.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue import RECORDS
from libs.events.cdr_hash import HASH_VERSION, UnknownHashVersionError, digest, hashed_fields, sealed
from libs.events.codec import Codec
from libs.events.contract import ROOT, load_contract, load_releases
from libs.events.sessions import BillingDocument, CdrCredited, CdrIssued
from services.sessions.audit.checks import chain_faults
from tests.contract.cdr_documents import full

GOLDEN = sorted((Path(__file__).parent / "golden" / "cdr_hash").glob("*.json"))
VERSIONS = sorted(int(path.stem) for path in (ROOT / "hashes").glob("*.yaml"))
KINDS: list[type[CdrIssued] | type[CdrCredited]] = [CdrIssued, CdrCredited]
CONTRACT = load_contract()


def document_in(path: Path) -> BillingDocument:
    record = msgspec.json.decode(path.read_bytes(), type=RECORDS[path.stem.split("-")[1]])
    assert isinstance(record, BillingDocument)
    return record


# The second implementation.


def by_rfc8785(value: Any) -> bytes:
    rfc8785 = pytest.importorskip("rfc8785", reason="`make setup` installs it")
    text: bytes = rfc8785.dumps(value)
    return text


def by_python(value: Any) -> bytes:
    """Enough of RFC 8785 for what documents hold: no floats, and names whose order is the same in UTF-8 and UTF-16."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def second_hash(kind: str, document: dict[str, Any], canonical: Callable[[Any], bytes]) -> str:
    version = document.get("hash_version", 1)
    stated = yaml.safe_load((ROOT / "hashes" / f"{version}.yaml").read_text())[kind]
    content = picked(stated, {**document, "hash": ""})
    return sha256(canonical(content if version == 1 else integers_as_text(content))).hexdigest()


def picked(stated: list[Any], fields: dict[str, Any]) -> dict[str, Any]:
    content = {}
    for each in stated:
        if isinstance(each, str):
            content[each] = fields[each]
        else:
            ((name, parts),) = each.items()
            content[name] = [picked(parts, part) for part in fields[name]]
    return content


def integers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: integers_as_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [integers_as_text(each) for each in value]
    return str(value) if isinstance(value, int) and not -(2**53) < value < 2**53 else value


# Golden documents: written once, never changed.


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_document_of_every_version_keeps_its_hash(path: Path) -> None:
    document = document_in(path)
    assert digest(document) == document.hash
    assert f"{document.hash_version}-{type(document).__name__}" == path.stem


@pytest.mark.parametrize("canonical", [by_python, by_rfc8785])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_second_implementation_finds_the_same_hash(path: Path, canonical: Callable[[Any], bytes]) -> None:
    document = json.loads(path.read_text())
    assert second_hash(path.stem.split("-")[1], document, canonical) == document["hash"]


def test_every_version_has_golden_documents_of_both_kinds() -> None:
    assert {path.stem for path in GOLDEN} == {f"{v}-{kind.__name__}" for v in VERSIONS for kind in KINDS}
    assert VERSIONS[-1] == HASH_VERSION


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_document_lets_no_field_be_forgotten(path: Path) -> None:
    """Any other value in any stated field is another hash."""
    document = document_in(path)
    for name in hashed_fields(document.hash_version, type(document).__name__):
        if name not in ("hash", "hash_version"):
            value = getattr(document, name)
            assert value not in (None, "", (), 0), f"{name} says nothing"
            assert digest(msgspec.structs.replace(document, **{name: _other(value)})) != document.hash, name


def _other(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[:-1]
    return value + 1 if isinstance(value, int) else value + "x"


@given(
    st.sampled_from(KINDS),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_both_implementations_agree(
    kind: type[CdrIssued] | type[CdrCredited], number: int, text: str
) -> None:
    changes = {"energy_wh": number, "meter_start_wh": -number, "transaction_id": text, "reason": text}
    for version in VERSIONS:
        document = full(kind, **changes, hash_version=version)
        fields = msgspec.to_builtins(document)
        assert digest(document) == second_hash(kind.__name__, fields, by_python)
        if version > 1 or abs(number) < 2**53:
            assert digest(document) == second_hash(kind.__name__, fields, by_rfc8785)


# What grows and what does not.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_newest_version_hashes_every_field_of_the_schema(
    kind: type[CdrIssued] | type[CdrCredited],
) -> None:
    """A field that is added needs a hash version that has it; add one, never change one."""
    stated = hashed_fields(HASH_VERSION, kind.__name__)
    schema = CONTRACT.schemas[kind.__name__]
    assert set(stated) == {field["name"] for field in schema["fields"]}
    for field in schema["fields"]:
        items = field["type"].get("items") if isinstance(field["type"], dict) else None
        inside = {each["name"] for each in items["fields"]} if isinstance(items, dict) else None
        named = stated[field["name"]]
        assert (None if named is None else set(named)) == inside, field["name"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_document_holds_a_float(kind: type[CdrIssued] | type[CdrCredited]) -> None:
    """RFC 8785 writes them as ECMAScript does; ours needs only integers."""
    text = json.dumps(CONTRACT.schemas[kind.__name__])
    assert '"double"' not in text
    assert '"float"' not in text


def test_a_later_field_leaves_older_hashes_alone() -> None:
    class Later(CdrIssued, frozen=True, kw_only=True):
        added: str = ""

    Later.__name__ = "CdrIssued"
    document = sealed(full(CdrIssued))
    later = msgspec.convert(msgspec.to_builtins(document), Later)
    assert digest(later) == digest(msgspec.structs.replace(later, added="x")) == document.hash


def test_documents_of_the_last_release_are_verified_today() -> None:
    """Written by its schema, which has no hash version, and read by ours."""
    fields = json.loads((GOLDEN[0].parent / "1-CdrIssued.json").read_text())
    released = load_releases()["0.1.0"]
    writing = Codec(CONTRACT, {"billing.cdrs": 1}, {2: released.value_schema("billing.cdrs")})
    document = msgspec.convert(fields, CdrIssued)
    value = writing.encode("billing.cdrs", document)
    assert value.endswith(b"\x02"), "the hash version, which is the last field"
    read = writing.decode(value[:4] + b"\x02" + value[5:-1])
    assert read == document
    assert list(chain_faults([msgspec.structs.replace(document, hash=document.hash)])) == [
        f"charge record {document.cdr_id} version {document.version}: what it follows on is missing"
    ]


def test_a_version_that_is_not_known_here_is_not_judged() -> None:
    document = full(CdrIssued, hash_version=99)
    assert isinstance(document, CdrIssued)
    with pytest.raises(UnknownHashVersionError, match="hash version 99 of CdrIssued"):
        digest(document)
    with pytest.raises(UnknownHashVersionError):
        list(chain_faults([document]))


def test_examples_are_sealed() -> None:
    for kind in KINDS:
        for path in sorted((ROOT / "examples" / kind.__name__).glob("*.json")):
            document = msgspec.json.decode(path.read_bytes(), type=kind)
            assert (document.hash, document.hash_version) == (digest(document), HASH_VERSION), path.name
