"""Rule files: what is known of models that do not follow OCPP, reviewed, each with an example.

A file is YAML, `rules:` a list of `QuirkRule`. Nothing in it is code: a rule says whom it concerns (`match`), what is
to be done (`effects`, a closed set), and proves it by frames as the charger sends them and the events that must come of
them. A rule without effects tells of a habit that is dealt with for every charger, and where that is tested.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec
import yaml

from libs.ocpp.errors import ErrorCode, spell
from libs.ocpp.quirks import MEANINGS
from libs.ocpp.quirks.effects import AnyEffect
from libs.ocpp.quirks.firmware import in_range, parse_range
from libs.ocpp.versions import Version

RULES_FOLDER: Final = Path(__file__).parent / "rules"

# Both are safe loaders; libyaml's reads the rules in force in a tenth of the time.
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Pattern = Annotated[str, msgspec.Meta(min_length=1)]


class RuleError(ValueError):
    """A rule file cannot be used; the message names the file, the rule and what is wrong."""


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Whom a rule concerns: every condition must hold.

    `vendor` and `model` are patterns, whatever the case, in which `*` stands for any text and `?` for one
    character; `firmware` is a range such as `>=4.2, <5`. They are compared with the words of the last
    BootNotification: a charger whose vendor or firmware is not known is concerned by no rule that asks for it.
    """

    vendor: Pattern
    model: Pattern = "*"
    firmware: str = ""
    version: Version | None = None
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.firmware:
            parse_range(self.firmware)

    def covers(self, version: str, vendor: str, model: str, firmware: str) -> bool:
        """Whether equipment that calls itself so, speaking `version`, is concerned."""
        return (
            self.version in (None, version)
            and bool(self._vendor.fullmatch(vendor.strip().casefold()))
            and bool(self._model.fullmatch(model.strip().casefold()))
            and (not self.firmware or in_range(firmware, parse_range(self.firmware)))
        )

    @cached_property
    def _vendor(self) -> re.Pattern[str]:
        return re.compile(pattern_regex(self.vendor), re.DOTALL)

    @cached_property
    def _model(self) -> re.Pattern[str]:
        return re.compile(pattern_regex(self.model), re.DOTALL)


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame as the charger sends it, and what comes of it.

    `received_at` is our clock, `zone` the one that the charger is configured with. `quirks` are the flags of
    OcppCallReceived; `refused` is the code of the CALLERROR that the frame gets instead. `answer` is the
    CALLRESULT's payload; `transactionId` in it stands for the one that the edge gave. `events` are the semantic
    events of the kinds that they name, all of them and in order; a field that is left out may be anything, but
    `quirks` left out means none.
    """

    frame: str
    received_at: datetime
    version: Version = Version.V16
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    zone: str = "UTC"
    quirks: tuple[str, ...] = ()
    refused: str = ""
    answer: dict[str, Any] | None = None
    events: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is None:
            raise ValueError("received_at has no zone; write it as 2026-01-31T12:00:00Z")
        if self.refused and self.refused not in {spell(self.version, code) for code in ErrorCode}:
            raise ValueError(f"{self.refused!r} is no error code of {self.version}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"{self.zone!r} is no IANA time zone") from None
        if any("type" not in event for event in self.events):
            raise ValueError("an event has no `type`")


class QuirkRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One habit of some chargers.

    `covers` are the rows of the catalogue of what real chargers do that it answers. `flags` are left for
    operators to see, beyond those of the effects. `sources` are addresses of public reports, `tests` the tests
    of a habit that an example cannot show, as path::name.
    """

    name: Name
    about: str
    covers: tuple[Name, ...] = ()
    match: Match | None = None
    effects: tuple[AnyEffect, ...] = ()
    flags: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    tests: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.effects and self.match is None:
            raise ValueError("effects without `match`: what every charger needs is code")
        if self.effects and not self.examples:
            raise ValueError("effects without an example")
        if not self.examples and not self.tests:
            raise ValueError("neither an example nor a test")
        unknown = sorted({*self.flags, *(q for e in self.examples for q in e.quirks)} - set(MEANINGS))
        if unknown:
            raise ValueError(f"unknown flags: {', '.join(unknown)}")

    @property
    def all_flags(self) -> tuple[str, ...]:
        """What to look for in `quirks` of records."""
        return tuple(dict.fromkeys((*(effect.flag for effect in self.effects), *self.flags)))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[QuirkRule, ...]


def load_file(path: Path) -> tuple[QuirkRule, ...]:
    """Read one rule file. Raises RuleError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise RuleError(f"{path}: {error}") from error
    try:
        rules = msgspec.convert(data, _File).rules
    except msgspec.ValidationError as error:
        raise RuleError(f"{path}: {_where(data, str(error))}") from error
    _check_names(path, rules)
    return rules


def load_rules(folder: Path = RULES_FOLDER) -> tuple[QuirkRule, ...]:
    """Read every rule file of a folder, in the order of their names. Raises RuleError."""
    rules: list[QuirkRule] = []
    for path in sorted(folder.glob("*.yaml")):
        rules += load_file(path)
        _check_names(path, rules)
    return tuple(rules)


def pattern_regex(pattern: str) -> str:
    """A pattern of `Match` as a regular expression for case-folded text, for Python's and ClickHouse's engines."""
    parts = {"*": ".*", "?": "."}
    return "".join(parts.get(c) or re.escape(c) for c in pattern.strip().casefold())


def _check_names(path: Path, rules: Iterable[QuirkRule]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise RuleError(f"{path}: two rules are named {rule.name!r}")
        seen.add(rule.name)


def _where(data: Any, message: str) -> str:
    """Name the rule that msgspec's `$.rules[3]` means."""
    found = re.search(r"\$\.rules\[(\d+)\]", message)
    if found is None:
        return message
    name = (
        data["rules"][int(found[1])].get("name") if isinstance(data["rules"][int(found[1])], dict) else None
    )
    return message if name is None else f"rule {name}: {message}"
