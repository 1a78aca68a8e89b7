"""Forms that change entries: what is sent, what is kept, and what somebody else changed meanwhile."""

from datetime import UTC, datetime

import pytest

from services.api.registry.stations import NewStation, StationSettings
from services.console.editing import (
    WAS,
    Form,
    Sent,
    Trouble,
    defaults_of,
    fields_for,
    merged,
    shown_again,
    text_of,
)
from services.console.forms import FormError, Kind, payload_of
from services.console.kinds import KINDS

LABELS = {"name": "Name", "evses": "EVSEs", "timezone": "Time zone", "phases": "Phases", "site_id": "Site"}
FIELDS = fields_for(StationSettings, {**LABELS, "site_valid_from": "From", "certification": "Certification"})
ENTRY = {"name": "Old", "evses": "2", "timezone": "UTC", "phases": "3", "site_id": "north"}
TROUBLE = Trouble({"": "changed"}, 412, outdated=True)


def filled(**typed: str) -> Sent:
    was = {WAS + name: text for name, text in ENTRY.items()}
    return Sent({**was, **ENTRY, **typed, "_tag": "id-1"}, ours=True)


def changed(**typed: str) -> dict[str, object]:
    return filled(**typed).changed(FIELDS, {"site_valid_from": "site_id"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_label_is_a_field_of_the_body_and_every_field_can_be_told_apart(kind: str) -> None:
    found = KINDS[kind]
    labels = found.labels(lambda text: text)
    fields = fields_for(found.new, labels)
    assert [field.name for field in fields] == list(labels)
    assert fields[0].required
    assert {field.label for field in fields} == set(labels.values())
    assert {field.name for field in fields_for(found.settings, labels)} == set(labels) - {fields[0].name}


def test_the_defaults_make_the_body_that_the_api_would_make() -> None:
    labels = KINDS["station"].labels(lambda text: text)
    entered = {**defaults_of(NewStation, labels), "station_id": "CP-1"}
    body = NewStation.model_validate(payload_of(fields_for(NewStation, labels), entered))
    expected = NewStation.model_validate({"station_id": "CP-1"})
    assert body.model_dump() == expected.model_dump()


def test_only_what_differs_is_sent() -> None:
    assert changed() == {}
    assert changed(name="New") == {"name": "New"}
    assert changed(name=" Old ") == {}
    assert changed(phases="1", certification="true") == {"phases": 1, "certification": True}
    assert StationSettings.model_validate(changed(phases="1")).phases == 1


def test_what_is_emptied_is_null_or_no_text() -> None:
    assert changed(name="", timezone="") == {"name": "", "timezone": None}


def test_a_field_goes_with_the_one_that_it_is_about() -> None:
    moment = "2026-05-01T08:00:00Z"
    assert changed(site_valid_from=moment) == {"site_id": "north", "site_valid_from": moment}


def test_what_cannot_be_is_told_with_its_field() -> None:
    with pytest.raises(FormError) as told:
        changed(evses="many")
    assert told.value.name == "evses"


def test_a_choice_of_numbers_is_a_number() -> None:
    phases = next(field for field in FIELDS if field.name == "phases")
    assert (phases.kind, set(phases.options)) == (Kind.INTEGER, {"1", "3"})


def test_who_comes_second_sees_what_changed_and_keeps_what_he_typed() -> None:
    now = {**ENTRY, "name": "Theirs", "evses": "4"}
    made = merged(Form(FIELDS, now, now, "id-2"), filled(name="Mine", timezone="Europe/Berlin"), TROUBLE)
    assert made.tag == "id-2"
    assert made.was == now
    assert made.entered == {**now, "name": "Mine", "timezone": "Europe/Berlin"}
    assert [(each.label, each.was, each.now, each.typed) for each in made.changes] == [
        ("Name", "Old", "Theirs", "Mine"),
        ("EVSEs", "2", "4", ""),
    ]


def test_what_is_wrong_is_told_in_the_order_of_the_form_and_what_was_typed_stays() -> None:
    trouble = Trouble({"phases": "no", "": "first of all", "name": "too long"})
    made = shown_again(Form(FIELDS, {}, {}, ""), filled(name="x" * 999), trouble)
    assert [name for name, _, _ in made.faults] == ["", "name", "phases"]
    assert (made.entered["name"], made.tag) == ("x" * 999, "id-1")
    assert not any(name.startswith("_") for name in made.entered)


def test_values_stand_in_inputs_as_they_are_typed() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    assert [text_of(each) for each in (None, True, False, 0, 1.5, "x", at, [1])] == [
        "",
        "true",
        "false",
        "0",
        "1.5",
        "x",
        "2026-05-01T00:00:00+00:00",
        "[1]",
    ]
