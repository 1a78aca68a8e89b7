"""The page about the semantic model says what the code does."""

from typing import get_args

import pytest

from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.degradation import DEGRADATIONS, NAMED_VARIABLES
from libs.ocpp.semantics.document import commands_of, events_of, model_document
from libs.ocpp.semantics.encoding import encode_command
from libs.ocpp.semantics.model import SemanticEvent
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal
from tests.unit.ocpp.test_commands import ALL

PAGE = model_document("")


def test_everything_is_on_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for name in [kind.__name__ for kind in (*get_args(SemanticEvent), *get_args(Command))]:
        (row,) = [row for row in rows if row.startswith(f"| `{name}` | ")][:1]
        assert any(cell.strip() for cell in row.split("|")[3:-1]), name
    for name in (NAMED_VARIABLES, *(rule.name for rule in DEGRADATIONS)):
        assert any(row.startswith(f"| `{name}` | ") for row in rows)


@pytest.mark.parametrize("version", Version)
def test_messages_mean_what_it_says(version: Version) -> None:
    for action, route in ROUTES[version].items():
        if route.to_csms:
            events = read_call(version, action, minimal(version, action, "request"), {"transactionId": 1}, 0)
            assert {type(event).__name__ for event in events} <= set(events_of(version, action)), action
    for command in ALL:
        action, _ = encode_command(version, command)
        assert type(command).__name__ in commands_of(version, action)


def test_what_depends_on_other_functions_is_found() -> None:
    assert set(events_of(Version.V21, "TransactionEvent")) == {
        "TransactionStep",
        "MeasurementsReported",
        "CostReported",
    }
    assert commands_of(Version.V16, "GetDiagnostics") == ("GetLog",)
