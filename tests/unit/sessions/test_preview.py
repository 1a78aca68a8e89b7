"""What a preview says a decision makes of a charge record is what the decision then makes of it."""

from __future__ import annotations

import pytest

from libs.events.decisions import Decision
from libs.events.registry import TariffRegistered
from libs.events.sessions import CdrIssued
from libs.tariffs.records import billed, usage_of
from services.sessions.audit.preview import under_decision
from tests.unit.sessions.decided import decide, decided, implausible
from tests.unit.sessions.given import registry


@pytest.mark.parametrize(
    ("decision", "billed_wh"),
    [
        ("accept", None),
        ("adjust", 12_000),
        ("adjust", 1),
        ("adjust", 0),
        ("adjust", 38_120),
        ("write_off", None),
    ],
)
def test_a_preview_is_what_comes_of_the_decision(decision: str, billed_wh: int | None) -> None:
    told = implausible()
    (first,) = told.cdrs
    found = under_decision(first, Decision(decision), billed_wh)
    changes = {} if billed_wh is None else {"billed_wh": billed_wh}
    decide(told, decided(told, decision, **changes))
    last = told.cdrs[-1]
    assert isinstance(last, CdrIssued)
    assert last.version == 2
    assert found is not None
    assert (found.billed_wh, found.written_off_wh) == (last.billed_wh, last.written_off_wh)
    assert sum(each.energy_wh for each in found.usage) == sum(each.energy_wh for each in usage_of(last))
    tariff = registry()["registry.tariffs"][last.tariff_id or "flat"]
    assert isinstance(tariff, TariffRegistered)
    if decision != "write_off":
        assert billed(first, found.usage, tariff.versions[-1]).gross_minor == last.amount_minor
    else:
        assert last.amount_minor == 0
