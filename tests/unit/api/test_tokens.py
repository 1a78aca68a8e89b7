"""Id tokens and their groups: compared case-folded, kept and shown as they were entered."""

from __future__ import annotations

from typing import Any, cast

import pytest

from libs.events.record import UNWRITTEN
from libs.events.registry import TokenRegistered
from services.api.domain.renewal import Stamp
from services.api.registry.table import Registry
from services.api.registry.tokens import NewToken, Tokens, TokenSettings

STAMP = Stamp("e-1", 1_000, 5)
NO_REGISTRY = cast(Registry, None)


def changed(old: TokenRegistered, body: TokenSettings, *, partly: bool = False) -> TokenRegistered:
    return Tokens().changed(NO_REGISTRY, old, body, STAMP, partly=partly)


def new(**fields: Any) -> TokenRegistered:
    body = NewToken.model_validate(fields)
    return changed(TokenRegistered(**UNWRITTEN, id_token=body.id_token.casefold()), body)


def test_ids_are_kept_as_they_were_entered_beside_the_folded_ones() -> None:
    card = new(id_token="04A1B2", group_id="Group1")
    assert (card.id_token, card.written) == ("04a1b2", "04A1B2")
    assert (card.group_id, card.group_written) == ("group1", "Group1")
    assert [each.group_id for each in card.groups] == ["group1"]
    shown = Tokens().shown(NO_REGISTRY, card, 0)
    assert (shown.id_token, shown.group_id) == ("04A1B2", "Group1")


def test_what_was_entered_folded_needs_no_second_form() -> None:
    card = new(id_token="04a1b2", group_id="group1")
    assert (card.written, card.group_written) == ("", "")
    assert (card.shown_id, card.shown_group) == ("04a1b2", "group1")
    assert new(id_token="04a1b2").shown_group is None


@pytest.mark.parametrize("partly", [False, True])
def test_another_form_of_the_group_is_no_other_group(partly: bool) -> None:
    card = new(id_token="04A1B2", group_id="Group1")
    again = changed(card, TokenSettings.model_validate({"group_id": "GROUP1"}), partly=partly)
    assert (again.group_id, again.group_written, again.groups) == ("group1", "GROUP1", card.groups)
    alone = changed(again, TokenSettings.model_validate({"group_id": None}), partly=partly)
    assert (alone.group_id, alone.group_written, alone.shown_group) == (None, "", None)


def test_a_token_keeps_the_form_in_which_chargers_have_it() -> None:
    card = new(id_token="04A1B2")
    assert changed(card, NewToken.model_validate({"id_token": "04a1B2"})).written == "04A1B2"
