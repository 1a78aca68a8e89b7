"""Documents about charges in which every field says something."""

from typing import Any

import msgspec

from libs.events.sessions import CdrCredited, CdrIssued

TEXT = 'Zoë "ü" \\ / \u2028 \x7f \x01\b\t\n\f\r 充電 \U0001f50c'


def full(kind: type[CdrIssued] | type[CdrCredited], **changes: Any) -> CdrIssued | CdrCredited:
    """A document without an empty field; its values follow from the names of its fields."""
    fields = {field.name: _value(field.type, field.name) for field in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    return msgspec.convert({**fields, **changes}, kind)


def _value(type_: msgspec.inspect.Type, name: str) -> Any:
    match type_:
        case msgspec.inspect.UnionType(types):
            return next(
                _value(each, name) for each in types if not isinstance(each, msgspec.inspect.NoneType)
            )
        case msgspec.inspect.VarTupleType(item_type=item):
            return [_value(item, f"{name}-1"), _value(item, f"{name}-2")]
        case msgspec.inspect.StructType(fields=fields):
            return {field.name: _value(field.type, f"{name}.{field.name}") for field in fields}
        case msgspec.inspect.IntType():
            if name.endswith(("_at", "_wh", ".at", ".wh", "_offset")):
                return 1_790_000_000_000_000 + len(name)
            return -len(name) if name.endswith("minor") else len(name)
        case _:
            return f"{name} {TEXT}"
