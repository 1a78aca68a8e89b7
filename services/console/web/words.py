"""Words, numbers and moments in the visitor's language and time zone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, dates, negotiate_locale, numbers
from babel.messages.pofile import read_po

from libs.tariffs.currency import minor_digits

FOLDER: Final = Path(__file__).resolve().parents[1] / "words"

NOTHING: Final = "\N{EN DASH}"
"""What stands where there is no value."""
SOURCE: Final = "en"
"""What templates are written in."""
LANGUAGES: Final[Mapping[str, str]] = {
    SOURCE: "English",
    **{path.stem: Locale.parse(path.stem).get_display_name() or path.stem for path in FOLDER.glob("*.po")},
}
_REGIONS: Final = {"en": "en_GB", "de": "de_DE"}
_UTC: Final = "UTC"
_KILO: Final = 1000
_MILLI_DIGITS: Final = 3


class Words:
    """What one visitor reads. `language`: one of LANGUAGES. `zone`: a name of the IANA database."""

    def __init__(self, language: str, zone: str) -> None:
        self.language = language
        self.zone = zone
        self.locale = Locale.parse(_REGIONS.get(language, language))
        self._messages = catalogue(language)
        self._zone = ZoneInfo(zone)

    def text(self, message: str, **values: object) -> str:
        """The message in this language, with `%(name)s` filled in."""
        found = self._messages.get(message) or message
        return found % values if values else found

    def number(self, value: float) -> str:
        """Grouped as the language does."""
        return numbers.format_decimal(value, locale=self.locale)

    def kwh(self, watt_hours: int | None) -> str:
        """Energy in kWh, exact to the Wh."""
        if watt_hours is None:
            return NOTHING
        return f"{numbers.format_decimal(Decimal(watt_hours) / _KILO, '#,##0.000', locale=self.locale)} kWh"

    def ampere(self, milliamperes: int | None) -> str:
        """A current in A."""
        return NOTHING if milliamperes is None else f"{self.number(milliamperes / _KILO)} A"

    def money(self, minor: int | None, currency: str | None) -> str:
        """An amount of minor units."""
        if minor is None or currency is None:
            return NOTHING
        return numbers.format_currency(
            Decimal(minor).scaleb(-minor_digits(currency)), currency, locale=self.locale
        )

    def price(self, milli: int, currency: str) -> str:
        """A price of thousandths of a minor unit, with all its digits."""
        amount = Decimal(milli).scaleb(-minor_digits(currency) - _MILLI_DIGITS)
        return f"{numbers.format_decimal(amount.normalize(), '#,##0.00###', locale=self.locale)} {currency}"

    def moment(self, at: datetime | None) -> str:
        """Date and time of day, to the second, in the visitor's zone."""
        if at is None:
            return NOTHING
        return dates.format_datetime(
            at.astimezone(self._zone), "yyyy-MM-dd HH:mm:ss", tzinfo=self._zone, locale=self.locale
        )

    def field(self, at: datetime) -> str:
        """A moment as a browser's own field for one has it, in the visitor's zone."""
        return at.astimezone(self._zone).strftime("%Y-%m-%dT%H:%M:%S")

    def day(self, at: datetime) -> datetime:
        """When that day began, in the visitor's zone."""
        return at.astimezone(self._zone).replace(hour=0, minute=0, second=0, microsecond=0)

    def minute(self, at: datetime) -> int:
        """How many minutes of that day had passed."""
        return (at - self.day(at).astimezone(UTC)) // timedelta(minutes=1)

    @property
    def clock(self) -> tzinfo:
        """The visitor's zone."""
        return self._zone

    def ago(self, at: datetime | None, now: datetime) -> str:
        """How long ago."""
        if at is None:
            return NOTHING
        return dates.format_timedelta(at - now, add_direction=True, locale=self.locale)


def words_for(language: str | None, accepted: str, zone: str | None) -> Words:
    """What a visitor reads who chose `language` and `zone`, or whose browser accepts these languages.

    `accepted`: an Accept-Language header. What is not known is English and UTC.
    """
    if language is None or language not in LANGUAGES:
        wanted = [part.split(";")[0].strip().replace("-", "_") for part in accepted.split(",")[:10]]
        language = negotiate_locale(wanted, list(LANGUAGES)) or SOURCE
    return Words(language, zone if zone is not None and zone in _zones() else _UTC)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """What the language, one of LANGUAGES, says for each message."""
    if language == SOURCE:
        return {}
    with (FOLDER / f"{language}.po").open(encoding="utf-8") as file:
        catalogue = read_po(file, locale=language)
    return {str(each.id): str(each.string) for each in catalogue if each.id and each.string}
