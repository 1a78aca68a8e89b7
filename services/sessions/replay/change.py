"""What is tried in a backtest: a changed tariff, or changed rules, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from libs.bus.processor import Tables
from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.tariffs import TariffTerms, base_price_milli
from libs.events.topics import REGISTRY_TARIFFS
from libs.ocpp.quirks.book import RuleBook, in_force
from libs.ocpp.quirks.rules import RuleError, load_file
from libs.tariffs.documents import parse, parse_version
from libs.tariffs.validation import TariffError


class ChangeError(Exception):
    """A file says no change that can be tried; the message is for people."""


class Change:
    """What the side AFTER has of its own. `book`: the rules in force with those of the file; None without one.

    Raises ChangeError for a rule file that cannot be read.
    """

    def __init__(
        self, tariff: Path | None, tariff_id: str | None, currency: str | None, rules: Path | None
    ) -> None:
        self._tariff = tariff
        self._tariff_id = tariff_id
        self._currency = currency
        self.book = None if rules is None else _book(rules)

    @property
    def any(self) -> bool:
        """Whether there is a change."""
        return self._tariff is not None or self.book is not None

    def tables(self, tables: Tables) -> Tables:
        """The tables with the tariff of the file. Raises ChangeError like `changed_tariff`."""
        if self._tariff is None:
            return tables
        changed = changed_tariff(self._tariff, self._tariff_id, self._currency, tables)
        return {**tables, REGISTRY_TARIFFS: {**tables[REGISTRY_TARIFFS], changed.tariff_id: changed}}


def changed_tariff(
    file: Path, tariff_id: str | None, currency: str | None, tables: Tables
) -> TariffRegistered:
    """The tariff in a file: whole, with dated versions, or terms that hold for every session.

    Raises ChangeError for a file that cannot be read, or a tariff that is not there.
    """
    written = _written(file)
    said, said_currency = written.pop("tariff_id", None), written.pop("currency", None)
    name = tariff_id or said
    known = tables[REGISTRY_TARIFFS].get(name or "")
    if not isinstance(known, TariffRegistered):
        names = ", ".join(sorted(tables[REGISTRY_TARIFFS])) or "none"
        which = (
            "say which tariff it replaces: --tariff-id" if name is None else f"there is no tariff {name!r}"
        )
        raise ChangeError(f"{which} (there are: {names})")
    if "versions" in written:
        versions = tuple(_version(file, each) for each in written["versions"])
        return msgspec.structs.replace(known, versions=versions)
    own = currency or said_currency or known.versions[-1].currency
    terms = _terms(file, written, own)
    last = known.versions[-1]
    version = msgspec.structs.replace(
        last,
        version=last.version + 1,
        valid_from=0,
        currency=own,
        price_per_kwh_milli=base_price_milli(terms),
        terms=terms,
    )
    return msgspec.structs.replace(known, versions=(version,))


def _book(file: Path) -> RuleBook:
    try:
        return in_force().overlaid(load_file(file))
    except RuleError as error:
        raise ChangeError(str(error)) from error


def _written(file: Path) -> dict[str, Any]:
    try:
        # This loader makes texts, lists and dicts only: 0.10 is no float.
        found = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ChangeError(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ChangeError(f"{file} is no tariff")
    return found


def _version(file: Path, written: Any) -> TariffVersion:
    """A version as `tariffs show --json` prints it, read without guessing."""
    try:
        return parse_version(written, texts=True)
    except TariffError as error:
        raise _unreadable(file, error) from None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ChangeError(f"{file}: a version lacks or misspells {error}") from None


def _terms(file: Path, written: Any, currency: str) -> TariffTerms:
    try:
        return parse(written, currency, texts=True)
    except TariffError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: TariffError) -> ChangeError:
    return ChangeError("\n  ".join([f"{file}:", *map(str, error.problems)]))
