"""What `voltbus backtest` and `voltbus sessions rederive` are asked, before Kafka is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer import BadParameter
from typer.testing import CliRunner

from libs.events.registry import TariffRegistered, TariffVersion
from libs.events.tariffs import Dimension
from libs.tariffs.engine import terms_of
from services.cli import app as cli
from services.cli.backtest import Span
from services.cli.client import Client
from services.sessions.replay.change import ChangeError, changed_tariff

DAY = 86_400_000_000
TABLES: dict[str, dict[str, Any]] = {
    "registry.tariffs": {
        "day": TariffRegistered(
            event_id="e",
            occurred_at=0,
            recorded_at=0,
            cause_id="e",
            tariff_id="day",
            versions=(
                TariffVersion(version=1, valid_from=0, currency="SEK", price_per_kwh_milli=300_000),
                TariffVersion(version=2, valid_from=5, currency="EUR", price_per_kwh_milli=45_500),
            ),
        )
    }
}


def written(folder: Path, text: str) -> Path:
    file = folder / "tariff.yaml"
    file.write_text(text)
    return file


def test_terms_hold_for_every_session(tmp_path: Path) -> None:
    file = written(tmp_path, "elements: [{price_components: [{type: ENERGY, price: 0.50}]}]")
    changed = changed_tariff(file, "day", None, TABLES)
    (version,) = changed.versions
    assert (changed.tariff_id, version.version, version.valid_from, version.currency) == ("day", 3, 0, "EUR")
    (component,) = terms_of(version).elements[0].price_components
    assert (component.type, component.price_milli) == (Dimension.ENERGY, 50_000)
    assert changed_tariff(file, "day", "JPY", TABLES).versions[0].price_per_kwh_milli == 500


def test_the_file_can_say_which_tariff_it_replaces(tmp_path: Path) -> None:
    text = "tariff_id: day\ncurrency: SEK\nelements: [{price_components: [{type: ENERGY, price: 3.20}]}]"
    (version,) = changed_tariff(written(tmp_path, text), None, None, TABLES).versions
    assert (version.currency, version.price_per_kwh_milli) == ("SEK", 320_000)
    assert changed_tariff(written(tmp_path, text), "day", "NOK", TABLES).versions[0].currency == "NOK"


def test_what_is_shown_can_be_edited_and_given(tmp_path: Path) -> None:
    shown = {
        "tariff_id": "day",
        "name": "Day",
        "version": 2,
        "versions": [
            {
                "version": 1,
                "valid_from": "1970-01-01T00:00:00Z",
                "currency": "EUR",
                "price_per_kwh_milli": 40000,
                "terms": None,
            },
            {
                "version": 2,
                "valid_from": "2026-05-01T00:00:00Z",
                "currency": "EUR",
                "price_per_kwh_milli": 50000,
                "terms": {
                    "elements": [{"price_components": [{"type": "ENERGY", "price": "0.5", "step_size": 1}]}]
                },
            },
        ],
    }
    changed = changed_tariff(written(tmp_path, json.dumps(shown)), None, None, TABLES)
    first, second = changed.versions
    assert (first.valid_from, first.price_per_kwh_milli, first.terms) == (0, 40_000, None)
    assert (second.valid_from, terms_of(second).elements[0].price_components[0].price_milli) == (
        1_777_593_600_000_000,
        50_000,
    )


@pytest.mark.parametrize(
    ("text", "tariff_id", "words"),
    [
        ("elements: []", None, "--tariff-id"),
        ("elements: []", "night", "there is no tariff 'night' (there are: day)"),
        ("elements: [{price_components: [{type: ENERGY, price: x}]}]", "day", "price"),
        ("- 1", "day", "is no tariff"),
        ("a: b: c", "day", "cannot be read"),
        ("versions: [{version: 1}]", "day", "valid_from"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, tariff_id: str | None, words: str) -> None:
    with pytest.raises(ChangeError) as error:
        changed_tariff(written(tmp_path, text), tariff_id, None, TABLES)
    assert words in str(error.value)


def test_the_log_is_read_from_before_the_period() -> None:
    span = Span("2026-05-08T00:00:00Z", "2026-05-09", 7)
    assert (span.since - span.read_from, span.until - span.since) == (7 * DAY, DAY)
    for since, until in (("2026-05-09", "2026-05-08"), ("yesterday", None), ("2026-05-01", "2026-13-01")):
        with pytest.raises(BadParameter):
            Span(since, until, 7)


@pytest.mark.parametrize("more", [[], ["--against-issued", "--rules", "x.yaml"]])
def test_one_thing_is_changed_at_a_time(more: list[str]) -> None:
    words = ["backtest", "--from", "2026-05-01", *more]
    assert CliRunner().invoke(cli.app, words, obj=Client("http://api", "key")).exit_code == 2
