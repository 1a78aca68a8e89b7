"""Firmware versions as chargers spell them, and ranges of them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, Final

_PART: Final = re.compile(r"\d+|[a-z]+")
_COMPARISON: Final = re.compile(r"(<=|>=|==|=|<|>)\s*([^\s,<>=]+)")
_BEFORE_RELEASE: Final = frozenset({"alpha", "beta", "rc", "pre", "dev", "snapshot", "test"})
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}

_Part = tuple[int, int, str]
_NOTHING: Final[_Part] = (1, 0, "")

Comparison = tuple[str, tuple[_Part, ...]]


def version_key(text: str) -> tuple[_Part, ...]:
    """The numbers and words of a version, so that keys compare as people would: 4.9 before 4.10, 2.0-rc1 before 2.0.

    What stands before the first digit (`v`, `FW-`) says nothing. Empty for a text without digits.
    """
    first = re.search(r"\d", text)
    parts = _PART.findall(text[first.start() :].lower()) if first else []
    return tuple([_part(part) for part in parts])


def parse_range(text: str) -> tuple[Comparison, ...]:
    """Read a range such as `>=4.2, <5`: comparisons that must all hold. Raises ValueError for anything else."""
    found = _COMPARISON.findall(text)
    if not found or _COMPARISON.sub("", text).strip(" ,\t"):
        raise ValueError(f"{text!r} is no range of versions, such as '>=4.2, <5'")
    comparisons = tuple([(sign, version_key(version)) for sign, version in found])
    if not all(key for _, key in comparisons):
        raise ValueError(f"{text!r} names a version without a number")
    return comparisons


def in_range(firmware: str, comparisons: tuple[Comparison, ...]) -> bool:
    """Whether all comparisons hold. A firmware without a number is in no range."""
    key = version_key(firmware)
    if not key:
        return False
    return all(_OPERATORS[sign](*_padded(key, bound)) for sign, bound in comparisons)


def _part(text: str) -> _Part:
    if text.isdecimal():
        return 1, int(text), ""
    return (0, 0, text) if text in _BEFORE_RELEASE else (1, 0, text)


def _padded(one: tuple[_Part, ...], two: tuple[_Part, ...]) -> tuple[tuple[_Part, ...], tuple[_Part, ...]]:
    """Both of one length: 4.2 is 4.2.0."""
    pairs = list(zip_longest(one, two, fillvalue=_NOTHING))
    return tuple([a for a, _ in pairs]), tuple([b for _, b in pairs])
