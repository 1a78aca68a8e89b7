"""Records to Kafka values and back: Avro in Confluent's wire format (magic byte 0, schema id, body).

The codec knows schemas by id and does no I/O: whoever fills it (`SchemaIds`) says which schema has which id.
Logical types are left as their base types, so that timestamps stay integers (microseconds).
"""

import struct
from collections.abc import Mapping
from functools import cached_property
from io import BytesIO
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader

from libs.events.avro_decoder import Decoder, compile_decoder
from libs.events.avro_encoder import Encoder, compile_encoder
from libs.events.catalogue import RECORDS
from libs.events.contract import Contract, name_repeats
from libs.events.record import Record

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
    """A well-formed record of a kind that this version of the platform does not know; `name` is the record's."""

    def __init__(self, name: str) -> None:
        super().__init__(f"record {name} is not known here")
        self.name = name


Fields = dict[str, Any]


class Codec:
    """Encodes and decodes the records of a contract.

    `write_ids`: schema id by topic (names as in the contract). `read_schemas`: Avro schema by id, as written.
    """

    def __init__(
        self, contract: Contract, write_ids: Mapping[str, int], read_schemas: Mapping[int, Any] | None = None
    ) -> None:
        self._contract = contract
        self._encoders: dict[tuple[str, type[Record]], tuple[bytes, Encoder]] = {}
        self._kinds: dict[int, tuple[tuple[_Kind, ...], bool]] = {}
        for topic, schema_id in write_ids.items():
            self._add_topic(topic, schema_id)
        for schema_id, schema in (read_schemas or {}).items():
            self.add_schema(schema_id, schema)

    @classmethod
    def without_registry(cls, contract: Contract) -> "Codec":
        """A codec for `contract` with made-up schema ids: only another one made so reads what it writes."""
        topics = (topic for topic in contract.topics.values() if topic.schemas)
        return cls(contract, {topic.name: number for number, topic in enumerate(topics, 1)})

    def _add_topic(self, topic: str, schema_id: int) -> None:
        names = self._contract.record_names(topic)
        prefix = MAGIC + schema_id.to_bytes(4, "big")
        for index, name in enumerate(names):
            branch = _varint(index) if len(names) > 1 else b""
            encode = compile_encoder(self._contract.schemas[name])
            self._encoders[topic, RECORDS[name]] = (prefix + branch, encode)
        if schema_id not in self._kinds:
            self.add_schema(schema_id, self._contract.value_schema(topic))

    def knows(self, schema_id: int) -> bool:
        """Whether values with this schema id can be read."""
        return schema_id in self._kinds

    def add_schema(self, schema_id: int, schema: Any) -> None:
        """Remember the schema that writers registered as `schema_id`.

        Raises CodecError for what is not a record or a union of records.
        """
        branches = schema if isinstance(schema, list) else [schema]
        defined: dict[str, Any] = {}
        try:
            kinds = tuple([_Kind(_complete(branch, defined), self._contract) for branch in branches])
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"schema {schema_id} is not a record or union of records: {error}") from error
        self._kinds[schema_id] = (kinds, isinstance(schema, list))

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
        kind, at = self._kind_of(value)
        record: Record = _whole(kind, kind.to_record, value, at)
        return record

    def decode_fields(self, value: bytes) -> tuple[str, Fields]:
        """Name and fields of the record in `value`, enums as text: for copying without making objects.

        Raises like `decode`.
        """
        kind, at = self._kind_of(value)
        return kind.name, _whole(kind, kind.to_fields, value, at)

    def _kind_of(self, value: bytes) -> tuple["_Kind", int]:
        """The kind of record in `value`, and where it begins."""
        if len(value) < HEADER_BYTES or value[:1] != MAGIC:
            raise BadValueError("not in Confluent's wire format")
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        found = self._kinds.get(schema_id)
        if found is None:
            raise UnknownSchemaIdError(schema_id)
        kinds, is_union = found
        if not is_union:
            return kinds[0], HEADER_BYTES
        # Zig-zag: odd bytes are negative numbers, and those from 128 on only begin one.
        coded = value[HEADER_BYTES] if len(value) > HEADER_BYTES else 1
        if coded & 1 or coded >> 1 >= len(kinds):
            raise BadValueError("no such branch in the schema")
        return kinds[coded >> 1], HEADER_BYTES + 1


class _Kind:
    """How to read one kind of record that was written with the schema `branch`, which is complete in itself."""

    def __init__(self, branch: Any, contract: Contract) -> None:
        self.name: str = branch["name"].rpartition(".")[2]
        self._branch = branch
        self._writer = _parsed(branch)
        self._ours = contract.schemas.get(self.name)
        self._same = self._ours is not None and _same_bytes(branch, self._ours)

    @cached_property
    def to_record(self) -> Decoder:
        """Reads a record of the class that is known here. Raises UnknownRecordError if none is."""
        self._require_known()
        record = RECORDS[self.name]
        if self._same:
            return compile_decoder(self._ours, record)
        resolve = self._resolver()

        def read(data: bytes, at: int) -> tuple[Record, int]:
            fields, end = resolve(data, at)
            return msgspec.convert(fields, record), end

        return read

    @cached_property
    def to_fields(self) -> Decoder:
        """Reads the fields that are known here. Raises UnknownRecordError if the record is not."""
        self._require_known()
        return compile_decoder(self._ours) if self._same else self._resolver()

    def _require_known(self) -> None:
        if self._ours is None:
            raise UnknownRecordError(self.name)

    def _resolver(self) -> Decoder:
        """Reads what an older or newer version of the platform wrote, as fields of ours."""
        writer, ours = self._writer, _parsed(self._ours)
        check = _strict_decoder(self._branch)

        def read(data: bytes, at: int) -> tuple[Fields, int]:
            _, end = check(data, at)
            if end > len(data):
                raise EOFError("bytes are missing")
            buffer = BytesIO(data)
            buffer.seek(at)
            fields: Any = schemaless_reader(buffer, writer, ours)
            return fields, buffer.tell()

        return read


def _whole(kind: _Kind, read: Decoder, value: bytes, at: int) -> Any:
    try:
        found, end = read(value, at)
    # Decoders raise whatever they stumble over: EOFError, IndexError, UnicodeDecodeError, ValidationError, ...
    except Exception as error:
        raise BadValueError(f"{kind.name}: {type(error).__name__}: {error}") from error
    if end != len(value):
        raise BadValueError(f"{kind.name}: the record does not end where its value does")
    return found


def _varint(number: int) -> bytes:
    """A union index as Avro writes it (zig-zag); one byte up to 63 branches."""
    if number > 63:
        raise CodecError("a topic holds at most 64 kinds of record")
    return bytes([number << 1])


def _parsed(schema: Any) -> Any:
    # Its own names only, and each defined once.
    return parse_schema(name_repeats(_plain(schema), set()), named_schemas={})


def _strict_decoder(schema: Any) -> Decoder:
    """Refuses what fastavro reads all the same: -1 as the last symbol or branch, and a last text that is cut off.

    What is written with types that the contract does not use is left to fastavro alone.
    """
    try:
        return compile_decoder(schema)
    except ValueError:
        return lambda data, at: (None, at)


def _complete(schema: Any, defined: dict[str, Any]) -> Any:
    """`schema` with every name of a type replaced by its definition; `defined`: those before, and those in it."""
    if isinstance(schema, list):
        return [_complete(branch, defined) for branch in schema]
    if isinstance(schema, str):
        return defined.get(schema.rpartition(".")[2], schema)
    copy = dict(schema)
    if "fields" in copy:
        copy["fields"] = [{**field, "type": _complete(field["type"], defined)} for field in copy["fields"]]
    if "items" in copy:
        copy["items"] = _complete(copy["items"], defined)
    if "name" in copy:
        defined[copy["name"].rpartition(".")[2]] = copy
    return copy


def _same_bytes(writer: Any, ours: Any) -> bool:
    """Whether what `writer` writes means the same by `ours`: the names and types of all fields are equal.

    Ours may have more symbols in its enums: they come at the end.
    """
    match writer, ours:
        case {"type": "record"}, {"type": "record"}:
            names = [[field["name"] for field in schema["fields"]] for schema in (writer, ours)]
            return names[0] == names[1] and all(
                _same_bytes(one["type"], other["type"])
                for one, other in zip(writer["fields"], ours["fields"], strict=True)
            )
        case {"type": "array"}, {"type": "array"}:
            return _same_bytes(writer["items"], ours["items"])
        case {"type": "enum"}, {"type": "enum"}:
            symbols: list[str] = writer["symbols"]
            return bool(symbols == ours["symbols"][: len(symbols)])
        case [*_], [*_]:
            return len(writer) == len(ours) and all(map(_same_bytes, writer, ours))
    return bool(_plain(writer) == _plain(ours))


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
