"""Terms of a tariff as the fields of a form, for the usual cases, and as JSON for all."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from libs.events.registry import TariffVersion
from libs.events.tariffs import TariffTerms, base_price_milli, flat_terms
from libs.runtime.clock import micros
from libs.tariffs.documents import parse, render
from libs.tariffs.engine import terms_of
from libs.tariffs.validation import TariffError
from services.api.registry.tariffs import Tariff
from services.api.registry.tariffs import TariffVersion as ShownVersion
from services.console.editing import Form, SeveralWrong
from services.console.forms import FormField, Kind

USUAL: Final = "usual"
TERMS: Final = "terms"

_COMPONENTS: Final = {"flat": "FLAT", "energy": "ENERGY", "time": "TIME", "parking": "PARKING_TIME"}
_PLACES: Final = (
    ("restrictions.start_time", "night_start"),
    ("restrictions.end_time", "night_end"),
    ("restrictions", "night_start"),
    ("taxes[0].name", "tax_name"),
    ("taxes", "tax_rate"),
    ("idle_grace", "idle_grace"),
    ("min_price", "min_price"),
    ("max_price", "max_price"),
)
_MINUTE_S: Final = 60
_MOST_DIGITS: Final = 9


class Written(msgspec.Struct, frozen=True):
    """What is published: one price, or terms. `document`: the terms as people write them."""

    terms: TariffTerms
    document: dict[str, Any]

    def body(self) -> dict[str, Any]:
        """The fields of the API's body for it."""
        price = base_price_milli(self.terms)
        return {"price_per_kwh_milli": price} if self.terms == flat_terms(price) else {"terms": self.document}


def fields(_: Callable[..., str], *, new: bool) -> tuple[FormField, ...]:
    """The inputs of the editor, each in the group where it stands."""
    number = _("A decimal number in the currency, such as 0.45.")
    time_of_day = _("By the site's clock, such as 22:00.")
    head = [
        *([("tariff_id", _("Tariff id"), "")] if new else []),
        ("name", _("Name"), ""),
        ("organisation_id", _("Organisation"), ""),
        ("currency", _("Currency"), _("Three letters, such as EUR.")),
        ("valid_from", _("Valid from"), _("A moment like 2026-05-01T08:00:00Z. Empty: a few seconds from now.")),
    ]  # fmt: skip
    usual = [
        ("energy", _("Price per kWh"), number),
        ("night_energy", _("Price per kWh at night"), number),
        ("night_start", _("Night from"), time_of_day),
        ("night_end", _("Night until"), time_of_day),
        ("flat", _("Price per session"), number),
        ("time", _("Price per hour of charging"), number),
        ("parking", _("Price per hour connected and idle"), number),
        ("idle_grace", _("Idle minutes without a price"), ""),
        ("tax_name", _("Tax"), ""),
        ("tax_rate", _("Tax rate, percent"), ""),
        ("tax_included", _("Prices include the tax"), ""),
        ("min_price", _("Least price of a session"), number),
        ("max_price", _("Highest price of a session"), number),
    ]
    found = [FormField(name, Kind.TEXT, False, "", hint, title=title) for name, title, hint in head]
    found += [
        FormField(name, Kind.FLAG if name == "tax_included" else Kind.TEXT, False, USUAL, hint, title=title)
        for name, title, hint in usual
    ]
    found.append(FormField("terms", Kind.JSON, False, TERMS, "", title=_("Terms as JSON")))
    return tuple(found)


def form_of(tariff: Tariff | None, labels: tuple[FormField, ...], tag: str = "") -> Form:
    """The form of a tariff's last version, or of a new tariff."""
    if tariff is None or not tariff.versions:
        return Form(labels, {"currency": "EUR", "source": USUAL})
    version = tariff.versions[-1]
    stored = terms_of(stored_version(version))
    document = render(stored, version.currency)
    apart = taken_apart(document, version.currency, stored)
    has = {
        "name": tariff.name,
        "organisation_id": tariff.organisation_id,
        "currency": version.currency,
        "terms": json.dumps(document, indent=2, ensure_ascii=False),
        "source": TERMS if apart is None else USUAL,
        **(apart or {}),
    }
    return Form(labels, has, has, tag)


def stored_version(version: ShownVersion) -> TariffVersion:
    """A version that the API shows, as it is stored."""
    terms = None if version.terms is None else parse(version.terms, version.currency)
    return TariffVersion(
        version=version.version,
        valid_from=micros(version.valid_from),
        currency=version.currency,
        price_per_kwh_milli=version.price_per_kwh_milli,
        terms=terms,
    )


def written(entered: Mapping[str, str], unreadable: str) -> Written:
    """The terms that were entered, in the fields or as JSON, whichever was chosen. Raises SeveralWrong.

    `unreadable`: what is said of JSON that is none.
    """
    usual = entered.get("source") != TERMS
    try:
        document = built(entered) if usual else _read(entered.get("terms", ""))
    except (ValueError, RecursionError) as error:
        raise SeveralWrong({"terms": f"{unreadable} {error}"[:300]}) from None
    currency = entered.get("currency", "").strip()
    try:
        terms = parse(document, currency)
    except TariffError as error:
        if not usual:
            raise SeveralWrong({"terms": str(error)}) from None
        wrong: dict[str, str] = {}
        for each in error.problems:
            wrong.setdefault(_field_of(document, each.path), each.detail)
        raise SeveralWrong(wrong) from None
    return Written(terms, render(terms, currency))


def built(entered: Mapping[str, str]) -> dict[str, Any]:
    """The terms of the fields for the usual cases, as people write them; nothing is checked yet."""
    has = {name: text.strip().replace(",", ".") for name, text in entered.items() if text.strip()}
    elements: list[dict[str, Any]] = []
    if has.keys() & {"night_energy", "night_start", "night_end"}:
        night = {"type": "ENERGY", "price": has.get("night_energy", "")}
        bounds = {"start_time": has.get("night_start"), "end_time": has.get("night_end")}
        elements.append({"price_components": [night], "restrictions": bounds})
    components = [{"type": kind, "price": has[name]} for name, kind in _COMPONENTS.items() if name in has]
    elements.append({"price_components": components})
    document: dict[str, Any] = {"elements": elements}
    if "tax_name" in has or "tax_rate" in has:
        document["taxes"] = [{"name": entered.get("tax_name", "").strip(), "rate": has.get("tax_rate", "")}]
    if has.get("tax_included") == "true":
        document["tax_included"] = True
    if "idle_grace" in has:
        minutes = has["idle_grace"]
        document["idle_grace_s"] = int(minutes) * _MINUTE_S if _is_short_number(minutes) else minutes
    document.update({name: has[name] for name in ("min_price", "max_price") if name in has})
    return document


def taken_apart(document: Mapping[str, Any], currency: str, terms: TariffTerms) -> dict[str, str] | None:
    """The fields for the usual cases that say just these terms; None if they cannot."""
    found: dict[str, str] = {}
    *nights, base = document["elements"]
    names = {kind: name for name, kind in _COMPONENTS.items()}
    for each in base["price_components"]:
        found[names.get(each["type"], "")] = str(each["price"])
    for each in nights:
        bounds = each.get("restrictions", {})
        found["night_energy"] = str(each["price_components"][0]["price"])
        found["night_start"], found["night_end"] = bounds.get("start_time", ""), bounds.get("end_time", "")
    for each in document.get("taxes", []):
        found["tax_name"], found["tax_rate"] = each["name"], str(each["rate"])
    found["tax_included"] = "true" if document.get("tax_included") else ""
    grace = document.get("idle_grace_s", 0) // _MINUTE_S
    found["idle_grace"] = str(grace) if grace else ""
    found |= {name: document.get(name, "") for name in ("min_price", "max_price")}
    try:
        same = parse(built(found), currency) == terms
    except TariffError:
        return None
    return found if same else None


def _read(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number)


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _field_of(document: Mapping[str, Any], path: str) -> str:
    """The field of the form that a place in the built terms comes from, "" for none."""
    for word, name in _PLACES:
        if word in path:
            return name
    elements = document["elements"]
    if len(elements) > 1 and path.startswith("elements[0]"):
        return "night_energy"
    for number, each in enumerate(elements[-1]["price_components"]):
        if f"price_components[{number}]" in path:
            return next(name for name, kind in _COMPONENTS.items() if kind == each["type"])
    return "energy" if path.startswith("elements") else ""
