"""Avro encoders compiled from schemas: a function per record that takes its fields straight from the object.

fastavro wants a dict and finds out at each field of each record what its type is; here that is found out once for
each schema, which makes encoding twice as fast. Only what the contract uses is understood: null, boolean, int, long,
double, string, bytes, enums, arrays, records inside records, and unions of null with one of these.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

Encoder = Callable[[Any], bytes]
"""Returns the Avro encoding of a value. For one that is not of the encoder's type it raises TypeError, ValueError,
AttributeError, KeyError, OverflowError or struct.error."""


def compile_encoder(schema: Any) -> Encoder:
    """The encoder for values of `schema`, in which named types stand where they are used.

    A record's encoder takes any object that has the record's fields as attributes. Raises ValueError for types
    that are not understood.
    """
    if isinstance(schema, list):
        return _optional(schema)
    kind = schema["type"] if isinstance(schema, Mapping) else schema
    if isinstance(kind, list | Mapping):
        return compile_encoder(kind)
    match kind:
        case "record":
            return _record(schema)
        case "enum":
            return {symbol: _long(index) for index, symbol in enumerate(schema["symbols"])}.__getitem__
        case "array":
            return _array(compile_encoder(schema["items"]))
    try:
        return _PLAIN[kind]
    except KeyError:
        raise ValueError(f"no encoder for {schema!r}") from None


def _record(schema: Mapping[str, Any]) -> Encoder:
    scope: dict[str, Any] = {"size": _size, "sizes": _SIZES}
    lines, short, long = [], [], []
    for index, field in enumerate(schema["fields"]):
        value = f"v{index}"
        if field["type"] == "string":
            lines.append(f" {value} = record.{field['name']}.encode()")
            short.append(f"sizes[len({value})], {value}")
            long.append(f"size(len({value})), {value}")
        else:
            scope[f"write{index}"] = compile_encoder(field["type"])
            lines.append(f" {value} = write{index}(record.{field['name']})")
            short.append(value)
            long.append(value)
    # Texts are nearly always short enough for the table of sizes.
    lines += [
        f" try: return b''.join(({', '.join(short)},))",
        f" except IndexError: return b''.join(({', '.join(long)},))",
    ]
    source = "\n".join(["def write(record):", *lines])
    # Field names come from the contract's own schemas, and Avro's names are Python's.
    exec(compile(source, f"<encoder of {schema['name']}>", "exec"), scope)  # noqa: S102
    encoder: Encoder = scope["write"]
    return encoder


def _optional(union: list[Any]) -> Encoder:
    if len(union) != 2 or union[0] != "null":
        raise ValueError(f"no encoder for {union!r}")
    write = compile_encoder(union[1])
    return lambda value: b"\0" if value is None else b"\2" + write(value)


def _array(write: Encoder) -> Encoder:
    def write_array(values: Any) -> bytes:
        # A text would be written letter by letter.
        if type(values) is not tuple and type(values) is not list:
            raise TypeError(f"{type(values).__name__} is no list")
        return b"".join((_long(len(values)), *map(write, values), b"\0")) if values else b"\0"

    return write_array


def _long(number: int) -> bytes:
    """Zig-zag, then seven bits a byte, the lowest first."""
    coded = (number << 1) ^ (number >> 63)
    if coded < _TABLE:
        return _LAST[coded]
    # A moment in microseconds has eight bytes, from 1987 to 3112.
    if 1 << 50 <= coded < 1 << 56:
        low, high = coded & (1 << 28) - 1, coded >> 28
        return _MORE[low & _TABLE - 1] + _MORE[low >> 14] + _MORE[high & _TABLE - 1] + _LAST[high >> 14]
    if coded >> 64:
        raise OverflowError(f"{number} does not fit into 64 bits")
    return _unsigned(coded)


def _unsigned(coded: int) -> bytes:
    if coded < _TABLE:
        return _LAST[coded]
    return _MORE[coded & _TABLE - 1] + _unsigned(coded >> 14)


def _int(number: int) -> bytes:
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError(f"{number} does not fit into 32 bits")
    return _long(number)


def _size(length: int) -> bytes:
    return _LAST[length << 1] if length < _TABLE >> 1 else _long(length)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _size(len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    return _size(len(value)) + value


def _boolean(value: bool) -> bytes:
    return _BOOLEANS[value]


_BOOLEANS: Final = {True: b"\1", False: b"\0"}
_PLAIN: Final[Mapping[str, Encoder]] = {
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "double": Struct("<d").pack,
    "string": _string,
    "bytes": _bytes,
}

# Fourteen bits at a time: a moment in microseconds takes four steps instead of eight.
_TABLE: Final = 1 << 14
_LAST: Final = [
    bytes((coded,)) if coded < 128 else bytes((coded & 127 | 128, coded >> 7)) for coded in range(_TABLE)
]
_SIZES: Final = _LAST[::2]
_MORE: Final = [bytes((coded & 127 | 128, coded >> 7 | 128)) for coded in range(_TABLE)]
