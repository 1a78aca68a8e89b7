"""A station of which something is known, and its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec.structs import replace

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent
from libs.events.record import Record
from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.dialect import to_request
from services.commands.domain.ledger.ledger import Ledger
from services.commands.domain.ledger.processor import CommandsProcessor
from tests.unit.commands.test_commands import (
    POLICY,
    STATION,
    TOPICS,
    Given,
    at,
    dispatches,
    located,
    request,
    sent,
)

CAPABILITIES = "stations.capabilities"
LIMIT = c.SetLimit(
    evse_id=2, transaction_id="7", limit_milliamp=16_000, profile_id=5, stack_level=0, phases=1
)


class Known:
    """The processor with a connection, and what is known of its station."""

    def __init__(self, version: str = "ocpp1.6") -> None:
        self.version = version
        self.runtime: MemoryRuntime[Ledger] = MemoryRuntime(CommandsProcessor(POLICY))
        self.feed(located(1, 0, version=version))

    def feed(self, record: Record) -> list[Emit]:
        topic = CAPABILITIES if isinstance(record, CapabilitiesLearned) else TOPICS[type(record)]
        out = self.runtime.feed(topic, STATION, record)
        assert self.runtime.dead == []
        return out

    def ask(self, name: str, seconds: float, command: c.Command, ttl_s: float = 60) -> list[Emit]:
        action, payload = to_request(command)
        dialect = CommandDialect.VOLTBUS
        return self.feed(request(name, seconds, ttl_s, action=action, payload=payload, dialect=dialect))

    def learn(self, seconds: float, *lacking: str, features: tuple[str, ...] = (), **variables: str) -> None:
        known = CapabilitiesLearned(
            event_id=f"known-{seconds}",
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id="boot",
            station_id=STATION,
            version=self.version,
            features=features,
            lacking=lacking,
            variables=tuple(KnownVariable(name=name, value=value) for name, value in variables.items()),
        )
        assert self.feed(known) == []


def answered(dispatch_of: list[Emit], seconds: float, result: object) -> OcppCallSent:
    (dispatch,) = dispatches(dispatch_of)
    call = sent(dispatch.command_id, seconds, attempt=dispatch.attempt, result=json.dumps(result))
    version = "ocpp2.0.1" if dispatch.action in {"GetVariables", "SetVariables"} else "ocpp1.6"
    return replace(call, action=dispatch.action, payload=dispatch.payload, version=version)


LACKING = CallError(code="NotImplemented", details="{}")


def refusal(out: list[Emit], seconds: float, error: CallError = LACKING) -> OcppCallSent:
    """The charger does not know what it was just sent."""
    (dispatch,) = dispatches(out)
    call = sent(
        dispatch.command_id, seconds, attempt=dispatch.attempt, outcome=CallOutcome.ERROR, error=error
    )
    return replace(call, action=dispatch.action, payload=dispatch.payload)


def replayed(records: Sequence[Given]) -> list[CommandConcluded]:
    """What a ledger without connections and capabilities makes of the log."""
    runtime = MemoryRuntime(CommandsProcessor(POLICY))
    for record in records:
        runtime.feed(TOPICS[type(record)], STATION, record)
    return [e.record for e in runtime.emitted if isinstance(e.record, CommandConcluded)]
