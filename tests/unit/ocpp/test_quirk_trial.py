"""What a trial tells of messages that two books read differently."""

from datetime import UTC

from libs.ocpp import quirks
from libs.ocpp.quirks.book import RuleBook
from libs.ocpp.quirks.trial import FieldChange, Trial
from tests.unit.ocpp.test_quirk_effects import ENERGY, ZERO, book, call, meter

POWER = {"value": "9000", "measurand": "Power.Active.Import"}


def test_changes_are_told_by_field_and_counted_by_message() -> None:
    trial = Trial(RuleBook([]), book(ENERGY), kept=1)
    for value in ("5", "6"):
        trial.add(call("MeterValues", meter({"value": value}, POWER, {"value": value}, transactionId=9)), UTC)
    trial.add(call("MeterValues", meter({"value": "5"}), vendor="Even"), UTC)
    assert (trial.messages, trial.changed, len(trial.examples)) == (3, 2, 1)
    assert {name: f.messages for name, f in trial.fields.items()} == {
        "MeasurementsReported.samples.value_milli": 2,
        "MeasurementsReported.samples.quirks": 2,
        "MeasurementsReported.quirks": 2,
        "TransactionStep.meter_wh": 2,
        "TransactionStep.readings.wh": 2,
        "TransactionStep.quirks": 2,
    }
    assert trial.fields["TransactionStep.meter_wh"].first == FieldChange("TransactionStep.meter_wh", 5, 5000)
    samples = [c for c in trial.examples[0].changes if c.field.endswith("samples.value_milli")]
    assert [(c.before, c.after) for c in samples] == [(5000, 5_000_000)] * 2


def test_readings_that_go_are_told_as_a_whole() -> None:
    samples = ({"value": "163630"}, {"value": "0", "context": "Transaction.Begin"})
    trial = Trial(RuleBook([]), book(ZERO), kept=1)
    trial.add(call("MeterValues", meter(*samples, transactionId=9)), UTC)
    change = trial.fields["TransactionStep.readings"].first
    assert (len(change.before), len(change.after)) == (2, 1)


def test_a_message_that_cannot_be_read_is_counted() -> None:
    trial = Trial(RuleBook([]), book(ENERGY), kept=1)
    trial.add(call("MeterValues", {"nonsense": 1}, quirks=(quirks.TOO_LONG,)), UTC)
    assert (trial.unreadable_before, trial.unreadable_after, trial.changed) == (1, 1, 0)
