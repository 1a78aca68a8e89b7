"""The rules in force, found by equipment and action, and applied to messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from functools import cache, lru_cache
from typing import Final

from libs.ocpp.quirks.effects import AnyEffect, LocalTimeMarkedUtc, Payload, flagged
from libs.ocpp.quirks.rules import QuirkRule, load_rules
from libs.ocpp.semantics.model import SemanticEvent

Effects = tuple[AnyEffect, ...]

_KINDS_OF_EQUIPMENT: Final = 4096


class RuleBook:
    """Rules, each compiled once for each kind of equipment that is met."""

    def __init__(self, rules: Iterable[QuirkRule]) -> None:
        self.rules = tuple(rules)
        self._acting = [rule for rule in self.rules if rule.effects]
        self.effects = lru_cache(_KINDS_OF_EQUIPMENT)(self._effects)

    def overlaid(self, rules: Iterable[QuirkRule]) -> RuleBook:
        """A book in which `rules` replace those of the same name and join the others."""
        news = {rule.name: rule for rule in rules}
        kept = [news.pop(rule.name, rule) for rule in self.rules]
        return RuleBook((*kept, *news.values()))

    def concerning(self, version: str, vendor: str, model: str, firmware: str) -> list[QuirkRule]:
        """The rules with effects that match this equipment."""
        return [
            rule
            for rule in self._acting
            if rule.match is not None and rule.match.covers(version, vendor, model, firmware)
        ]

    def _effects(self, version: str, vendor: str, model: str, firmware: str) -> Mapping[str, Effects]:
        """By action, what rules do to the messages of this equipment, in their order; empty for most."""
        found: dict[str, Effects] = {}
        for rule in self.concerning(version, vendor, model, firmware):
            assert rule.match is not None
            for effect in rule.effects:
                for action in effect.actions:
                    if not rule.match.actions or action in rule.match.actions:
                        found[action] = (*found.get(action, ()), effect)
        return found


@cache
def in_force() -> RuleBook:
    """The rules that come with the platform."""
    return RuleBook(load_rules())


def correct_payload(effects: Effects, payload: Payload, received_at: int, zone: tzinfo) -> tuple[str, ...]:
    """Change the payload; return the flags for all its events."""
    return tuple([effect.flag for effect in effects if effect.correct_payload(payload, received_at, zone)])


def correct_events(
    effects: Effects, events: list[SemanticEvent], flags: tuple[str, ...]
) -> list[SemanticEvent]:
    """Return the events as they are to be, with `flags`."""
    for effect in effects:
        events = [effect.correct_event(event) for event in events]
    return [flagged(event, flags) for event in events] if flags else events


@lru_cache(_KINDS_OF_EQUIPMENT)
def clock_rule(version: str, vendor: str, model: str, firmware: str) -> LocalTimeMarkedUtc | None:
    """The rule in force about this equipment's clock, if there is one."""
    for effects in in_force().effects(version, vendor, model, firmware).values():
        for effect in effects:
            if isinstance(effect, LocalTimeMarkedUtc):
                return effect
    return None
