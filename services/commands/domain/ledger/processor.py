"""The ledger of one station's commands: what waits, what is in flight, what has its fate.

A command waits in order of arrival until the station's socket is known, is dispatched to the edge that holds it,
and ends in one `CommandConcluded`. One command per station is in flight, and nothing that may have reached the
charger is ever sent again: only a refusal (the edge's word that it sent nothing) leads to another dispatch.

What is known of a charger's abilities is an input and not a table, so that a replay knows at each moment what was
known then.
"""

from __future__ import annotations

from libs.bus.message import Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.shapes import grown
from libs.events.commands import RequestCommand
from libs.events.ocpp_log import DispatchRefused, OcppCallSent, StationLocated
from libs.events.stations import CapabilitiesLearned
from libs.events.topics import (
    COMMANDS_BULK_STATIONS,
    COMMANDS_DISPATCH,
    COMMANDS_OUTCOMES,
    COMMANDS_REQUESTED,
    EDGE_CONNECTIONS,
    OCPP_COMMANDS,
    STATIONS_CAPABILITIES,
)
from libs.ocpp.semantics.abilities import NOTHING_KNOWN, abilities_of
from services.commands.domain.ledger.evidence import evidence_of_call
from services.commands.domain.ledger.ledger import Ledger, Policy
from services.commands.domain.ledger.turn import Turn


class CommandsProcessor(Processor[Ledger]):
    """Requests, connections and the edges' reports to dispatches and fates, keyed by station."""

    name = "commands"
    inputs = (COMMANDS_REQUESTED, OCPP_COMMANDS, EDGE_CONNECTIONS, STATIONS_CAPABILITIES)
    outputs = (COMMANDS_DISPATCH, COMMANDS_OUTCOMES, COMMANDS_BULK_STATIONS)
    state = Ledger
    former_states = (grown("0.1.0", "dbc5118cb283fc80"),)
    unmarked_state = "dbc5118cb283fc80"
    max_state_bytes = 3_584 << 10

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy()

    def step(self, state: Ledger | None, event: Message | Tick, tables: Tables) -> Step[Ledger]:
        """Take the event in, then expire, give up and dispatch whatever its moment allows."""
        if isinstance(event, Tick):
            if state is None:
                return Step(None)
            turn = Turn(self._policy, state, event.at, None)
        else:
            record = event.record
            now = record.recorded_at if record is not None else event.timestamp_us
            before = state or Ledger(event.key)
            turn = Turn(self._policy, before, now, record.event_id if record is not None else None)
            match record:
                case RequestCommand():
                    turn.request(record)
                case StationLocated():
                    turn.locate(record)
                case OcppCallSent():
                    turn.conclude_by(evidence_of_call(record))
                case DispatchRefused():
                    turn.refuse(record)
                case CapabilitiesLearned():
                    turn.learn(abilities_of(record))
                case None if event.topic == EDGE_CONNECTIONS:
                    turn.forget_location()
                case None if event.topic == STATIONS_CAPABILITIES:
                    turn.learn(NOTHING_KNOWN)
                case _:
                    return Step(state)
            if turn.ledger is before:
                return Step(state)
        turn.settle()
        return Step(turn.ledger, tuple(turn.out), tuple(turn.bounded))

    def due(self, state: Ledger) -> int | None:
        """The next expiry, end of waiting for a dispatch, or retry."""
        moments = [w.expires_at for w in state.grounded()]
        if state.flight is not None:
            moments.append(state.flight.give_up_at)
        elif state.queue and (there := state.reachable()) and there.epoch == state.missed_epoch:
            moments.append(state.retry_at)
        return min(moments, default=None)
