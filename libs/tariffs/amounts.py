"""Energy, money and prices as decimal text, for people."""

from decimal import Decimal

from libs.tariffs.currency import minor_digits


def kwh(wh: int | None) -> str:
    """Energy in kWh, with three decimals; empty for None."""
    return "" if wh is None else f"{Decimal(wh) / 1000:.3f}"


def money(minor: int, currency: str | None) -> str:
    """An amount in the major unit and its currency; empty without one."""
    if currency is None:
        return ""
    digits = minor_digits(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f} {currency}"


def price(milli: int, currency: str) -> str:
    """A price in the major unit from thousandths of the minor one, and its currency."""
    return f"{Decimal(milli).scaleb(-3 - minor_digits(currency)).normalize():f} {currency}"
