"""Terms of a tariff as fields: what they mean, and which terms they can say."""

from typing import Any

import pytest

from libs.events.tariffs import TariffTerms
from libs.tariffs.documents import parse, render
from services.console.editing import SeveralWrong
from services.console.tariff_forms import USUAL, built, fields, taken_apart, written
from tests.unit.tariffs.examples import documented

FULL = {
    "energy": "0.49",
    "night_energy": "0,29",
    "night_start": "22:00",
    "night_end": "06:00",
    "flat": "0.5",
    "time": "1.2",
    "parking": "6",
    "idle_grace": "15",
    "tax_name": "VAT",
    "tax_rate": "19",
    "tax_included": "true",
    "min_price": "1",
    "max_price": "50",
}


def read(**entered: str) -> TariffTerms:
    return written({"currency": "EUR", "source": USUAL, **entered}, "no JSON").terms


def test_every_field_is_part_of_the_terms_and_can_be_told_from_them() -> None:
    usual = {field.name for field in fields(lambda text: text, new=True) if field.group == USUAL}
    assert usual == set(FULL)
    terms = read(**FULL)
    apart = taken_apart(render(terms, "EUR"), "EUR", terms)
    assert apart == {**FULL, "night_energy": "0.29"}


def test_one_price_is_published_as_one() -> None:
    assert written({"currency": "EUR", "energy": "0.4567"}, "").body() == {"price_per_kwh_milli": 45_670}
    assert "terms" in written({"currency": "EUR", "energy": "0.4567", "flat": "1"}, "").body()


@pytest.mark.parametrize("example", list(documented()), ids=lambda each: str(each.get("what")))
def test_terms_are_taken_apart_only_if_the_fields_say_just_them(example: dict[str, Any]) -> None:
    currency = example.get("currency", "EUR")
    terms = parse(example["tariff"], currency, texts=True)
    apart = taken_apart(render(terms, currency), currency, terms)
    if apart is not None:
        assert parse(built(apart), currency) == terms


def test_more_than_the_fields_can_say_is_not_taken_apart() -> None:
    plans = {
        "elements": [{"price_components": [{"type": "ENERGY", "price": "1"}]}],
        "plans": [{"group_id": "g"}],
    }
    terms = parse(plans, "EUR")
    assert taken_apart(render(terms, "EUR"), "EUR", terms) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("energy", "cheap"),
        ("energy", "-1"),
        ("energy", "0.1234567"),
        ("flat", "1e3"),
        ("night_start", "25:00"),
        ("night_end", "soon"),
        ("night_energy", ""),
        ("tax_rate", "x"),
        ("idle_grace", "a while"),
        ("idle_grace", "9" * 5000),
        ("min_price", "much"),
        ("max_price", "0.5"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(name: str, text: str) -> None:
    with pytest.raises(SeveralWrong) as told:
        read(**{**FULL, name: text})
    assert set(told.value.wrong) <= {name, "min_price"}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "null", '{"elements": NaN}', '{"elements": []}', "9" * 5000]
)
def test_text_that_is_no_terms_is_told_with_its_field(text: str) -> None:
    with pytest.raises(SeveralWrong) as told:
        written({"currency": "EUR", "source": "terms", "terms": text}, "This is no JSON.")
    assert set(told.value.wrong) == {"terms"}
