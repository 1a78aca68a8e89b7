"""What a session is billed, and by which version of which tariff."""

from __future__ import annotations

import msgspec

from libs.tariffs.bill import Bill
from libs.tariffs.usage import Usage
from services.sessions.domain.session import Outcome


class UnderPlan(msgspec.Struct, frozen=True):
    """The plan that applies, if it has a bundle or a fee: of which group, and in which month by the site's clock."""

    group_id: str
    bundle_wh: int
    month: str
    timezone: str


class Charge(msgspec.Struct, frozen=True):
    """The tariff version that applies, and the bill by it."""

    tariff_id: str
    version: int
    currency: str
    bill: Bill
    under: UnderPlan | None = None


class Charged(msgspec.Struct, frozen=True, gc=False):
    """What a session amounts to, what of it is billed, and the bill; None without a tariff."""

    result: Outcome
    usage: Usage
    charge: Charge | None
