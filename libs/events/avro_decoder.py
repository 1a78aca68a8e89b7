"""Avro decoders compiled from schemas, the counterpart of `avro_encoder`: straight from bytes to a record or to a dict.

For values written with the very schema that is ours; where the writer's differs, fastavro resolves the two. As
there, only what the contract uses is understood.
"""

import types
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

Decoder = Callable[[bytes, int], tuple[Any, int]]
"""Reads a value from bytes at a position; returns it and the position behind it, which is beyond the end if bytes are
missing. For bytes that do not follow the schema it raises IndexError, KeyError, ValueError or struct.error."""


def compile_decoder(schema: Any, shape: Any = None) -> Decoder:
    """The decoder for values of `schema`, in which named types stand where they are used.

    `shape` is the Python type to make of it: a msgspec Struct with the fields of a record, an Enum, a tuple of such,
    or one of them or None. Without it records become dicts, enums text and arrays lists. Raises ValueError for types
    that are not understood.
    """
    if isinstance(schema, list):
        return _optional(schema, shape)
    kind = schema["type"] if isinstance(schema, Mapping) else schema
    if isinstance(kind, list | Mapping):
        return compile_decoder(kind, shape)
    match kind:
        case "record":
            return _record(schema, shape)
        case "enum":
            return _enum(schema["symbols"], shape)
        case "array":
            item = get_args(shape)[0] if shape is not None else None
            return _array(compile_decoder(schema["items"], item), list if shape is None else tuple)
    try:
        return _PLAIN[kind]
    except KeyError:
        raise ValueError(f"no decoder for {schema!r}") from None


def _record(schema: Mapping[str, Any], shape: Any) -> Decoder:
    shapes = get_type_hints(shape) if shape is not None else {}
    scope: dict[str, Any] = {"make": dict if shape is None else shape, "number": _long, "small": _int}
    scope |= {"sizes": _SIZES, "booleans": _BOOLEANS}
    lines, arguments = [], []
    for index, field in enumerate(schema["fields"]):
        lines += _steps(field["type"], shapes.get(field["name"]), index, scope)
        arguments.append(f"{field['name']}=v{index}")
    source = "\n ".join(["def read(data, at):", *lines, f"return make({', '.join(arguments)}), at"])
    # Field names come from the contract's own schemas, and Avro's names are Python's.
    exec(compile(source, f"<decoder of {schema['name']}>", "exec"), scope)  # noqa: S102
    decoder: Decoder = scope["read"]
    return decoder


def _steps(schema: Any, shape: Any, index: int, scope: dict[str, Any]) -> list[str]:
    """Lines that read field `index` of a record into `v<index>`: a call costs more than most fields do."""
    if isinstance(schema, list):
        inner, shape = _inside(schema, shape)
        return [
            "branch = data[at]; at += 1",
            f"if branch == 0: v{index} = None",
            "elif branch != 2: raise ValueError(f'no branch {branch >> 1} in the union')",
            "else:",
            *[f" {line}" for line in _steps(inner, shape, index, scope)],
        ]
    kind = schema["type"] if isinstance(schema, Mapping) else schema
    if kind == "string":
        return [
            "size = sizes[data[at]]",
            "if size >= 0: at += 1",
            "else:",
            " size, at = number(data, at)",
            " if size < 0: raise ValueError('negative size')",
            f"end = at + size; v{index} = data[at:end].decode(); at = end",
        ]
    if kind in ("int", "long"):
        return [
            f"v{index} = data[at]",
            f"if v{index} < 128: v{index} = (v{index} >> 1) ^ -(v{index} & 1); at += 1",
            f"else: v{index}, at = {'small' if kind == 'int' else 'number'}(data, at)",
        ]
    if kind == "boolean":
        return [f"v{index} = booleans[data[at]]; at += 1"]
    scope[f"read{index}"] = compile_decoder(schema, shape)
    reading = f"v{index}, at = read{index}(data, at)"
    if kind == "array":
        return [
            f"if data[at] == 0: v{index} = {'[]' if shape is None else '()'}; at += 1",
            f"else: {reading}",
        ]
    return [reading]


def _inside(union: list[Any], shape: Any) -> tuple[Any, Any]:
    """Schema and shape of what is not null in `union`."""
    if len(union) != 2 or union[0] != "null":
        raise ValueError(f"no decoder for {union!r}")
    if get_origin(shape) in (Union, types.UnionType):
        (shape,) = (each for each in get_args(shape) if each is not type(None))
    return union[1], shape


def _optional(union: list[Any], shape: Any) -> Decoder:
    read = compile_decoder(*_inside(union, shape))

    def read_optional(data: bytes, at: int) -> tuple[Any, int]:
        branch = data[at]
        if branch == 0:
            return None, at + 1
        if branch != 2:
            raise ValueError(f"no branch {branch >> 1} in the union")
        return read(data, at + 1)

    return read_optional


def _enum(symbols: list[str], shape: Any) -> Decoder:
    # By the byte that stands for a symbol.
    if len(symbols) > 64:
        raise ValueError(f"no decoder for an enum of {len(symbols)} symbols")
    members = {index << 1: symbol if shape is None else shape(symbol) for index, symbol in enumerate(symbols)}
    return lambda data, at: (members[data[at]], at + 1)


def _array(read: Decoder, make: Callable[[Iterable[Any]], Any]) -> Decoder:
    def read_array(data: bytes, at: int) -> tuple[Any, int]:
        if data[at] == 0:
            return make(()), at + 1
        items: list[Any] = []
        while True:
            count, at = _long(data, at)
            end = None
            if count < 0:
                # The block's size in bytes follows, for those who want to skip it.
                count = -count
                size, at = _long(data, at)
                end = at + size
            if count == 0:
                return make(items), at
            for _ in range(count):
                item, at = read(data, at)
                items.append(item)
            if end is not None and at != end:
                raise ValueError("a block of another size than it says")

    return read_array


def _long(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, then zig-zag."""
    coded = data[at]
    if coded < 128:
        return (coded >> 1) ^ -(coded & 1), at + 1
    # A moment in microseconds has eight bytes: their sevens of bits are pushed together in three steps.
    coded = int.from_bytes(data[at : at + 8], "little")
    if coded & 0x8080808080808080 == 0x0080808080808080:
        coded = (coded & 0x007F007F007F007F) | ((coded & 0x7F007F007F007F00) >> 1)
        coded = (coded & 0x00003FFF00003FFF) | ((coded & 0x3FFF00003FFF0000) >> 2)
        coded = (coded & 0x0FFFFFFF) | ((coded & 0x0FFFFFFF00000000) >> 4)
        return (coded >> 1) ^ -(coded & 1), at + 8
    coded = shift = 0
    while True:
        part = data[at]
        at += 1
        coded |= (part & 127) << shift
        if part < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
    if coded >> 64:
        raise ValueError("a number of more than 64 bits")
    return (coded >> 1) ^ -(coded & 1), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    number, at = _long(data, at)
    if not -(1 << 31) <= number < 1 << 31:
        raise ValueError("a number of more than 32 bits")
    return number, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    if size < 0:
        raise ValueError("negative size")
    return data[at : at + size], at + size


def _string(data: bytes, at: int) -> tuple[str, int]:
    text, at = _bytes(data, at)
    return text.decode(), at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    return _BOOLEANS[data[at]], at + 1


def _double(data: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack_from(data, at)[0], at + 8


# A size by its first byte; -1 if there are more bytes to it, or if it is negative.
_SIZES: Final = tuple(first >> 1 if first < 128 and not first & 1 else -1 for first in range(256))
_DOUBLE: Final = Struct("<d")
_BOOLEANS: Final = (False, True)
_PLAIN: Final[Mapping[str, Decoder]] = {
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "double": _double,
    "string": _string,
    "bytes": _bytes,
}
