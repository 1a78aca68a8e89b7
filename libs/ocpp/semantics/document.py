"""The semantic model as a page of the documentation: which message means what, and who is asked in which words.

Read from the code of readers and encoders themselves, so that the page cannot say something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Final, get_args

from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics import READERS
from libs.ocpp.semantics.abilities import COMPONENTS_2
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.degradation import ABSOLUTE_PROFILE, DEGRADATIONS, NAMED_VARIABLES
from libs.ocpp.semantics.encoding import ENCODERS
from libs.ocpp.semantics.model import SemanticEvent
from libs.ocpp.semantics.results import result_reader
from libs.ocpp.versions import Version

_EVENTS: Final = {event.__name__: event for event in get_args(SemanticEvent)}
_NAMES: Final = {Version.V16: "1.6", Version.V201: "2.0.1", Version.V21: "2.1"}
_OWN: Final = "libs.ocpp.semantics"
_FROM_ANSWERS: Final = ("ActionAnswered", "ActionUnsupported")


@cache
def events_of(version: Version, action: str) -> tuple[str, ...]:
    """Names of the events that a station's message may mean, in the order of the model."""
    reader = READERS[version].get(action)
    found = set() if reader is None else set(_events_made_by(reader))
    return tuple(name for name in _EVENTS if name in found)


@cache
def events_of_result(version: Version, action: str) -> tuple[str, ...]:
    """Names of the events that a station's answer to our message may mean, in the order of the model."""
    reader = result_reader(version, action)
    found = set() if reader is None else set(_events_made_by(reader))
    return tuple(name for name in _EVENTS if name in found)


@cache
def commands_of(version: Version, action: str) -> tuple[str, ...]:
    """Names of the version-free commands that may lead to a message of this action."""
    return tuple(kind.__name__ for kind in get_args(Command) if action in _actions_of(version, kind))


def model_document(header: str) -> str:
    """Return the tables of events, commands and degradations, under `header`."""
    return "\n".join([header, *_events(), *_commands(), *_degradations(), *_unsupported()]) + "\n"


def _events() -> list[str]:
    lines = [
        "# The semantic model: events, commands, degradations",
        "",
        "What it is for and how it is used: [semantics.md](semantics.md).",
        "",
        "## Events",
        "",
        "| event | says | 1.6 | 2.0.1 | 2.1 |",
        "|---|---|---|---|---|",
    ]
    for name, event in _EVENTS.items():
        cells = [", ".join(_messages(version, name)) for version in Version]
        lines.append(_row(f"`{name}`", _summary(event), *cells))
    return [*lines, ""]


def _messages(version: Version, event: str) -> Iterator[str]:
    if event in _FROM_ANSWERS:
        yield "any answer"
    for action, route in ROUTES[version].items():
        if route.to_csms and event in events_of(version, action):
            yield action
        if event in events_of_result(version, action):
            yield f"{action} (result)"


def _commands() -> list[str]:
    lines = [
        "## Commands",
        "",
        "| command | asks | 1.6 | 2.0.1 and 2.1 |",
        "|---|---|---|---|",
    ]
    for kind in get_args(Command):
        old, new = (", ".join(_actions_of(version, kind)) for version in (Version.V16, Version.V201))
        lines.append(_row(f"`{kind.__name__}`", _summary(kind), old or "unsupported", new))
    return [*lines, ""]


def _degradations() -> list[str]:
    lines = [
        "## Degradations",
        "",
        "`CommandConcluded.degraded` holds these names, with commas between them.",
        "",
        "| name | of | where the charger has | is sent |",
        "|---|---|---|---|",
        _row(
            f"`{NAMED_VARIABLES}`",
            "`GetBaseReport`",
            "2.x without GetBaseReport",
            "GetVariables of the variables that limit what it can be asked",
        ),
        _row(
            f"`{ABSOLUTE_PROFILE}`",
            "`SetLimit`, `SetDefaultLimit`",
            "no Relative profile accepted",
            "Absolute, from the moment when it was asked for",
        ),
    ]
    for rule in DEGRADATIONS:
        kinds = ", ".join(f"`{kind.__name__}`" for kind in rule.commands)
        lines.append(_row(f"`{rule.name}`", kinds, rule.when, rule.instead))
    return [*lines, ""]


def _unsupported() -> list[str]:
    lines = [
        "## Features that actions take",
        "",
        "A command that would need one that the charger says it has not fails at once, `unsupported: <feature>`;",
        "and so does one whose action, or whose action with that argument, it has refused as unknown. What 1.6 lists",
        "in SupportedFeatureProfiles keeps nothing back.",
        "",
        "| action | 2.x: `<component>.Available` not false |",
        "|---|---|",
    ]
    lines += [_row(f"`{action}`", component) for action, component in sorted(COMPONENTS_2.items())]
    return lines


def _actions_of(version: Version, kind: type) -> tuple[str, ...]:
    encoder = ENCODERS[version].get(kind)
    if encoder is None:
        return ()
    routes = ROUTES[version]
    functions: list[Callable[..., Any]] = [
        encoder,
        *(rule.degrade for rule in DEGRADATIONS if kind in rule.commands),
    ]
    texts = [
        text
        for function in functions
        for text in _constants(_function(function))
        if text in routes and routes[text].to_station
    ]
    return tuple(dict.fromkeys(texts))


def _events_made_by(reader: Callable[..., Any]) -> Iterator[str]:
    """Names of event classes that a function uses, or the functions of this package that it calls."""
    todo, seen = [_function(reader)], set()
    while todo:
        function = todo.pop()
        if function in seen:
            continue
        seen.add(function)
        for name in _names(function.__code__):
            if name in _EVENTS:
                yield name
            called = function.__globals__.get(name)
            if isinstance(called, FunctionType) and called.__module__.startswith(_OWN):
                todo.append(called)


def _constants(function: FunctionType) -> Iterator[str]:
    """Texts in a function and in the functions of this package that it calls."""
    for code in _codes(function.__code__):
        for constant in code.co_consts:
            yield from _texts(constant)
    for name in _names(function.__code__):
        called = function.__globals__.get(name)
        if isinstance(called, FunctionType) and called.__module__.startswith(_OWN):
            yield from _constants(called)


def _texts(constant: object) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, tuple):
        for each in constant:
            yield from _texts(each)


def _names(code: CodeType) -> Iterator[str]:
    for each in _codes(code):
        yield from each.co_names


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _function(called: Callable[..., Any]) -> FunctionType:
    assert isinstance(called, FunctionType)
    return called


def _summary(kind: type) -> str:
    first = (kind.__doc__ or "").split("\n\n")[0]
    return " ".join(first.split()).replace("``", "`")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def names(values: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{value}`" for value in values)
