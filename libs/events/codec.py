"""Records to Kafka values and back: Avro in Confluent's wire format (magic byte 0, schema id, body).

The codec knows schemas by id and does no I/O: whoever fills it (`SchemaIds`) says which schema has which id.
Logical types are left as their base types, so that timestamps stay integers (microseconds).
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader

from libs.events.catalogue import RECORDS
from libs.events.contract import Contract
from libs.events.record import Record
from libs.events.writing import Writer, compile_writer

MAGIC = b"\0"
HEADER_BYTES = 5


class CodecError(ValueError):
    """A value that cannot be read or written as the contract says."""


class BadValueError(CodecError):
    """Not the wire format, or bytes that do not follow their schema."""


class UnknownSchemaIdError(CodecError):
    """The value names a schema id that is not known yet; `schema_id` tells which. Learn it and try again."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"unknown schema id {schema_id}")
        self.schema_id = schema_id


class UnknownRecordError(CodecError):
    """A well-formed record of a kind that this version of the platform does not know."""


Fields = dict[str, Any]


class Codec:
    """Encodes and decodes the records of a contract.

    `write_ids`: schema id by topic (names as in the contract). `read_schemas`: Avro schema by id, as written.
    """

    def __init__(
        self, contract: Contract, write_ids: Mapping[str, int], read_schemas: Mapping[int, Any] | None = None
    ) -> None:
        self._contract = contract
        self._encoders: dict[tuple[str, type[Record]], tuple[bytes, Writer]] = {}
        self._readers: dict[int, _Reader] = {}
        for topic, schema_id in write_ids.items():
            self._add_topic(topic, schema_id)
        for schema_id, schema in (read_schemas or {}).items():
            self.learn(schema_id, schema)

    def _add_topic(self, topic: str, schema_id: int) -> None:
        names = self._contract.record_names(topic)
        prefix = MAGIC + schema_id.to_bytes(4, "big")
        for index, name in enumerate(names):
            branch = _varint(index) if len(names) > 1 else b""
            writer = compile_writer(self._contract.schemas[name])
            self._encoders[topic, RECORDS[name]] = (prefix + branch, writer)
        if schema_id not in self._readers:
            self.learn(schema_id, self._contract.value_schema(topic))

    def learn(self, schema_id: int, schema: Any) -> None:
        """Remember the schema that writers registered as `schema_id`.

        Raises CodecError for what is not a record or a union of records.
        """
        branches = schema if isinstance(schema, list) else [schema]
        known: dict[str, Any] = {}
        try:
            decoders = [_branch_decoder(branch, known, self._contract) for branch in branches]
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"schema {schema_id} is not a record or union of records: {error}") from error
        if isinstance(schema, list):
            self._readers[schema_id] = partial(_read_union, decoders)
        else:
            self._readers[schema_id] = partial(_read_single, decoders[0])

    def encode(self, topic: str, record: Record) -> bytes:
        """`record` as a value of `topic`. Raises CodecError if it does not fit the topic's schema."""
        try:
            prefix, write = self._encoders[topic, type(record)]
        except KeyError:
            raise CodecError(f"{type(record).__name__} is not a record of topic {topic}") from None
        try:
            return prefix + write(record)
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError, struct.error) as error:
            raise CodecError(f"{type(record).__name__} does not fit its schema: {error}") from error

    def decode(self, value: bytes) -> Record:
        """The record in `value`.

        Raises UnknownSchemaIdError, UnknownRecordError or BadValueError, all of them CodecError.
        """
        record, fields = self._read(value)
        try:
            return msgspec.convert(fields, record)
        except msgspec.ValidationError as error:
            raise BadValueError(f"{record.__name__}: {error}") from error

    def decode_fields(self, value: bytes) -> tuple[str, Fields]:
        """Name and fields of the record in `value`, enums as text: for copying without making objects.

        Raises like `decode`.
        """
        record, fields = self._read(value)
        return record.__name__, fields

    def _read(self, value: bytes) -> tuple[type[Record], Fields]:
        if len(value) < HEADER_BYTES or value[:1] != MAGIC:
            raise BadValueError("not in Confluent's wire format")
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        reader = self._readers.get(schema_id)
        if reader is None:
            raise UnknownSchemaIdError(schema_id)
        return reader(value)


_Reader = Callable[[bytes], tuple[type[Record], Fields]]


class _BranchDecoder(msgspec.Struct, frozen=True):
    """How to read one kind of record: writer schema, our schema where it differs, class if known here."""

    name: str
    writer: Any
    reader: Any
    record: type[Record] | None


def _branch_decoder(branch: Any, known: dict[str, Any], contract: Contract) -> _BranchDecoder:
    name = branch["name"].rpartition(".")[2]
    writer = _parsed(branch, known)
    ours = contract.schemas.get(name)
    if ours is None:
        return _BranchDecoder(name, writer, None, None)
    reader = None if _plain(branch) == _plain(ours) else _parsed(ours)
    return _BranchDecoder(name, writer, reader, RECORDS[name])


def _read_single(decoder: _BranchDecoder, value: bytes) -> tuple[type[Record], Fields]:
    buffer = BytesIO(value)
    buffer.seek(HEADER_BYTES)
    return _read(decoder, buffer)


def _read_union(decoders: list[_BranchDecoder], value: bytes) -> tuple[type[Record], Fields]:
    index = value[HEADER_BYTES] >> 1 if len(value) > HEADER_BYTES else len(decoders)
    if index >= len(decoders):
        raise BadValueError(f"no branch {index} in the schema")
    buffer = BytesIO(value)
    buffer.seek(HEADER_BYTES + 1)
    return _read(decoders[index], buffer)


def _read(decoder: _BranchDecoder, buffer: BytesIO) -> tuple[type[Record], Fields]:
    if decoder.record is None:
        raise UnknownRecordError(f"record {decoder.name} is not known here")
    try:
        fields: Any = schemaless_reader(buffer, decoder.writer, decoder.reader)
    # fastavro raises whatever its readers stumble over: EOFError, IndexError, UnicodeDecodeError, ...
    except Exception as error:
        raise BadValueError(f"{decoder.name}: {type(error).__name__}: {error}") from error
    if buffer.read(1):
        raise BadValueError(f"{decoder.name}: bytes left over after the record")
    return decoder.record, fields


def _varint(number: int) -> bytes:
    """A union index as Avro writes it (zig-zag); one byte up to 63 branches."""
    if number > 63:
        raise CodecError("a topic holds at most 64 kinds of record")
    return bytes([number << 1])


def _parsed(schema: Any, known: dict[str, Any] | None = None) -> Any:
    return parse_schema(_plain(schema), named_schemas=known if known is not None else {})


def _plain(schema: Any) -> Any:
    """`schema` without documentation and logical types: what the bytes look like."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: _plain(value) if key in ("type", "fields", "items") else value
            for key, value in schema.items()
            if key not in ("doc", "logicalType")
        }
    return schema
