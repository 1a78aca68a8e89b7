"""Access control lists by the topic files: who may do what, and who may not."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.bus.rights import SAME, SOLE_WRITERS, Right, rights
from libs.bus.settings import BusSettings
from libs.events.contract import load_contract
from services.cli.app import app
from services.cli.rights import commands

CONTRACT = load_contract()
RIGHTS = rights(BusSettings(namespace="ns"), CONTRACT)
SERVICES = Path(__file__).resolve().parents[3] / "services"


def who_may(operation: str, topic: str) -> set[str]:
    return {
        right.principal
        for right in RIGHTS
        if (right.kind, right.name) == ("topic", f"ns.{topic}") and right.operation in (operation, "All")
    }


@pytest.mark.parametrize(
    ("topic", "readers", "writers"),
    [
        # What decides about money and passwords.
        ("billing.decisions", {"sessions", "sink", "cli"}, {"api", "cli", "console"}),
        ("sessions.evidence", {"sessions"}, {"cli"}),
        ("registry.credentials", {"api", "console", "edge"}, {"api", "console"}),
        ("billing.cdrs", {"api", "cli", "console", "projections", "sink"}, {"sessions"}),
        ("state.sessions", {"sessions"}, {"sessions"}),
        ("contract.schemas", None, set()),
    ],
)
def test_only_those_whom_the_topic_file_names(
    topic: str, readers: set[str] | None, writers: set[str]
) -> None:
    assert who_may("Write", topic) == writers | {"deploy"}
    if readers is not None:
        assert who_may("Read", topic) == readers | {"deploy"}


def test_a_topics_file_is_all_there_is_to_it() -> None:
    for name, topic in CONTRACT.topics.items():
        named = set(topic.producers) | set(topic.consumers)
        named |= {service for service, other in SAME.items() if other in named}
        everybody = who_may("Read", name) | who_may("Write", name)
        assert everybody - {"deploy", "cli"}, name
        assert len(everybody) <= len(named) + 2, name


def test_every_service_on_the_bus_is_a_principal_and_nobody_else_is() -> None:
    services = {path.parent.name for path in SERVICES.glob("*/app.py")} - {"simulator"}
    assert {right.principal for right in RIGHTS} == services | {"deploy", "downstream", "registry"}


def test_groups_and_transactional_ids_are_those_of_the_processors() -> None:
    found = {right[1:4] for right in RIGHTS if right.principal == "load" and right.kind != "topic"}
    assert found == {
        ("group", "voltbus.ns.load", False),
        ("group", "voltbus.ns.load-observer", False),
        ("transactional-id", "voltbus.ns.load.", True),
        ("transactional-id", "voltbus.ns.load-observer.", True),
    }


def test_a_reader_may_bury_what_it_cannot_handle_and_the_sink_keeps_it() -> None:
    for topic in CONTRACT.topics.values():
        if topic.dead_letters:
            expected = who_may("Read", topic.name) - {"cli", "downstream"}
            assert expected <= who_may("Write", f"{topic.name}.dead"), topic.name
            readers = {"cli", "deploy", "sink"} if topic.stored else {"cli", "deploy"}
            assert who_may("Read", f"{topic.name}.dead") == readers


def test_it_is_printed_as_commands() -> None:
    printed = list(
        commands(
            [
                Right("sink", "group", "voltbus.sink", False, "Read"),
                Right("load", "transactional-id", "voltbus.load.", True, "Write"),
                Right("sink", "topic", "b", False, "Read"),
                Right("sink", "topic", "a", False, "Read"),
            ],
            "User:CN={},O=Voltbus Test",
        )
    )
    start = 'kafka-acls.sh --bootstrap-server "$KAFKA" --command-config "$ADMIN" --add --allow-principal '
    assert printed == [
        f"{start}'User:CN=load,O=Voltbus Test' --operation Write --resource-pattern-type prefixed"
        " --transactional-id voltbus.load.",
        f"{start}'User:CN=sink,O=Voltbus Test' --operation Read --group voltbus.sink",
        f"{start}'User:CN=sink,O=Voltbus Test' --operation Read --topic a --topic b",
    ]


def test_printing_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLTBUS_KAFKA", "nowhere.invalid:1")
    printed = CliRunner().invoke(app, ["contract", "rights"])
    assert printed.exit_code == 0
    assert "--allow-principal User:sessions --operation Write" in printed.output


def test_every_sole_writer_may_write_as_such() -> None:
    source = "".join(path.read_text() for path in SERVICES.rglob("*.py"))
    named = set(re.findall(r'SoleWriter\(\s*bus,\s*"([^"]+)"', source))
    allowed = {name for names in SOLE_WRITERS.values() for name in names}
    assert named == allowed
