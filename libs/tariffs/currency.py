"""How many decimals the minor unit of a currency has (ISO 4217)."""

from typing import Final

NO_MINOR_UNIT: Final = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"}
    | {"RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"}
)
THOUSANDTHS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


def minor_digits(currency: str) -> int:
    """Decimals of the minor unit of `currency` (its ISO 4217 code): 2 unless known otherwise."""
    return 0 if currency in NO_MINOR_UNIT else 3 if currency in THOUSANDTHS else 2
