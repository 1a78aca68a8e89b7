"""The shape of stored states: a fingerprint of their type, and the ways from the shapes of earlier releases.

States are kept as MessagePack, which does not say what is in it. Bytes are read by the shape that they were written in,
and by no other: with two fields exchanged they would often read as well, and wrongly.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cache, partial
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import inspect

S = TypeVar("S")

_SCALARS: Final[dict[type[inspect.Type], str]] = {
    inspect.AnyType: "any",
    inspect.NoneType: "null",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.StrType: "str",
    inspect.BytesType: "bytes",
}


@cache
def fingerprint(state: Hashable) -> str:
    """16 hexadecimal digits that change when the bytes of a value of type `state` do, or what they mean.

    Raises TypeError like `shape_of`.
    """
    return hashlib.sha256(msgspec.json.encode(shape_of(state))).hexdigest()[:16]


def shape_of(state: Any) -> Any:
    """What decides how values of type `state` are written, as JSON-like values; equal on all versions of Python.

    That is: names of fields (in their order where structs are arrays), tags, types, the values of enums, and the
    `extra` of an annotation `msgspec.Meta`, which says what a type cannot. Not: names of classes, defaults, the order
    of fields that are written by name. Raises TypeError for a type that no state needs.
    """
    return _shape(inspect.type_info(state), ())


def _shape(found: inspect.Type, around: tuple[type, ...]) -> Any:
    shape: Any
    match found:
        case inspect.Metadata(type=inner, extra=extra):
            shape = _shape(inner, around)
            if extra:
                shape = {"type": shape, "extra": extra}
        case inspect.StructType():
            shape = _struct(found, around)
        case inspect.EnumType(cls=cls):
            shape = {"enum": _sorted(member.value for member in cls)}
        case inspect.LiteralType(values=values):
            shape = {"enum": _sorted(values)}
        case inspect.UnionType(types=types):
            shape = {"union": _sorted(_shape(each, around) for each in types)}
        case inspect.TupleType(item_types=items):
            shape = {"tuple": [_shape(each, around) for each in items]}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            shape = {"list": _shape(item, around)}
        case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
            shape = {"set": _shape(item, around)}
        case inspect.DictType(key_type=key, value_type=value):
            shape = {"dict": [_shape(key, around), _shape(value, around)]}
        case _ if type(found) in _SCALARS:
            shape = _SCALARS[type(found)]
        case _:
            raise TypeError(f"a state cannot hold {found!r}")
    return shape


def _struct(found: inspect.StructType, around: tuple[type, ...]) -> Any:
    if found.cls in around:
        return {"enclosing": len(around) - around.index(found.cls)}
    if found.cls.__struct_config__.omit_defaults:
        raise TypeError(f"{found.cls.__name__} omits defaults: another default would change what is stored")
    inside = (*around, found.cls)
    fields = [[field.encode_name, _shape(field.type, inside)] for field in found.fields]
    shape: dict[str, Any] = {"array": fields} if found.array_like else {"map": sorted(fields, key=_text)}
    return shape if found.tag is None else {**shape, "tag": [found.tag_field, found.tag]}


def _sorted(values: Any) -> list[Any]:
    return sorted(values, key=_text)


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value)


class FormerState(msgspec.Struct, Generic[S], frozen=True):
    """How a processor's states were kept up to `release`, the last one that wrote them so.

    `type`: the type of the states then, which must never change again. `upcast` makes today's state of one. `downcast`
    goes back, so that this version can run beside that one; None if there is no way back. Both are pure. `grown_from`:
    in place of `type`, see `grown`.
    """

    release: str
    type: Any
    upcast: Callable[[Any], S]
    downcast: Callable[[S], Any] | None = None
    grown_from: str = ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the states then."""
        return self.grown_from or fingerprint(self.type)


def grown(release: str, shape: str) -> FormerState[Any]:
    """States of `release`, of which `shape` is the fingerprint, have less than today's: nothing has to be converted.

    Fields were added, with defaults and in arrays at the end; each version passes over what only the other has. Or
    symbols of enums: the earlier version stops at a state that holds a new one.
    """
    return FormerState(release, None, _as_it_is, _as_it_is, shape)


def _as_it_is(state: Any) -> Any:
    return state


class Shapes(Generic[S]):
    """The shapes in which values of type `today` may be kept: `current`, and those of `former`."""

    def __init__(self, today: Any, former: Iterable[FormerState[S]]) -> None:
        self._readers: dict[str, Callable[[bytes], S]] = {
            each.fingerprint: partial(_upcast, each, _decoder(today if each.grown_from else each.type))
            for each in former
        }
        self.current: Final = fingerprint(today)
        self._readers[self.current] = _decoder(today)

    def __contains__(self, shape: object) -> bool:
        return shape in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def decode(self, value: bytes, shape: str) -> S:
        """What `value` holds. Raises KeyError for another shape, else what msgspec or the upcast raises."""
        return self._readers[shape](value)


def _decoder(state: Any) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(state).decode


def _upcast(former: FormerState[S], decode: Callable[[bytes], Any], value: bytes) -> S:
    return former.upcast(decode(value))
