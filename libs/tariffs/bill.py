"""What a session costs, line by line."""

from enum import StrEnum

import msgspec


class LineKind(StrEnum):
    """What a line is for.

    ENERGY, TIME, PARKING_TIME, FLAT: by a price component, or free where none counts. PREPAID: energy out of a
    plan's bundle. GRACE: idle time within the grace. *_STEP: what rounds the quantity up to its step. DISCOUNT: a
    plan's. MINIMUM, MAXIMUM: up or down to the limit of a session's price. ROUNDING: to the increment, untaxed.
    SUBSCRIPTION: a plan's fee for a month.
    """

    ENERGY = "energy"
    PREPAID = "prepaid"
    TIME = "time"
    PARKING_TIME = "parking_time"
    GRACE = "grace"
    FLAT = "flat"
    ENERGY_STEP = "energy_step"
    TIME_STEP = "time_step"
    PARKING_TIME_STEP = "parking_time_step"
    DISCOUNT = "discount"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    ROUNDING = "rounding"
    SUBSCRIPTION = "subscription"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill.

    `element`: index of the tariff's element whose price it is. `start`, `end`: from the first to the last use of that
    price without another one in between (microseconds). `unit`: Wh, s or session. `price_milli`: thousandths of a
    minor unit per kWh, hour or session, with tax if the tariff's prices are.
    """

    kind: LineKind
    element: int | None
    start: int
    end: int
    quantity: int
    unit: str
    price_milli: int
    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """With taxes."""
        return self.net_minor + self.tax_minor


class TaxAmount(msgspec.Struct, frozen=True, gc=False):
    """One tax: on how much it is (net), and how much it is."""

    name: str
    rate_milli: int
    net_minor: int
    tax_minor: int


class Bill(msgspec.Struct, frozen=True, gc=False):
    """What a session costs, in minor currency units. The lines add up to the totals; `prepaid_wh` left the bundle."""

    lines: tuple[Line, ...]
    net_minor: int
    tax_minor: int
    taxes: tuple[TaxAmount, ...] = ()
    prepaid_wh: int = 0

    @property
    def gross_minor(self) -> int:
        """What is to be paid."""
        return self.net_minor + self.tax_minor
