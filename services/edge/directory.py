"""Which stations this process holds, and what the read models and the router make of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from websockets.frames import CloseCode

from libs.events.commands import AnswerCall, DispatchCommand
from libs.events.ocpp_log import RefusalReason, StationLocated
from libs.events.record import Record
from libs.events.topics import EDGE_CONNECTIONS, OCPP_LIFECYCLE
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger
from services.edge.commands import refuse
from services.edge.connection import StationConnection
from services.edge.context import Context
from services.edge.deferred import drop
from services.edge.domain.admission import Admission
from services.edge.domain.authentication import Certificate, outdated
from services.edge.domain.location import Addressee, Holding, Judgement, addressee, judge, next_epoch
from services.edge.records import Scribe
from services.edge.socket import StationSocket

log = get_logger(__name__)

_T = TypeVar("_T")
_REMEMBERED: Final = 16_384
_ABNORMAL: Final = 1006


class Directory:
    """The connections of this process, one per station: the newest.

    `locations` is the table of `edge.connections`.
    """

    def __init__(self, context: Context, locations: Mapping[str, StationLocated]) -> None:
        self._context = context
        self._locations = locations
        self._held: dict[str, StationConnection] = {}
        # Connections that were here, and dispatches that were taken: oldest first, bounded.
        self._left: dict[tuple[str, int], None] = {}
        self._taken: dict[str, None] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[StationConnection]:
        return iter(list(self._held.values()))

    def open(self, socket: StationSocket, admission: Admission) -> StationConnection:
        """Make the connection of an accepted socket; an older one of the same station here is closed at once."""
        now = now_us()
        station_id = admission.station_id
        older = self._held.get(station_id)
        located = self._locations.get(station_id)
        epoch = next_epoch(
            now,
            older.holding.epoch if older is not None else None,
            located.connection_epoch if located is not None else None,
        )
        connection = StationConnection(self._context, socket, admission, epoch, now)
        if older is not None:
            self._replace(older)
        self._held[station_id] = connection
        return connection

    def close(self, connection: StationConnection) -> None:
        """Forget a connection whose socket is gone."""
        holding = connection.holding
        if self._held.get(holding.station_id) is connection:
            del self._held[holding.station_id]
        _remember(self._left, (holding.station_id, holding.epoch))

    def _replace(self, older: StationConnection) -> None:
        older.replaced = True
        _remember(self._left, (older.holding.station_id, older.holding.epoch))
        older.end(CloseCode.POLICY_VIOLATION, "replaced")

    def on_located(self, station_id: str, record: Record | None) -> None:
        """Take note of a change of `edge.connections`."""
        connection = self._held.get(station_id)
        if connection is None or not isinstance(record, StationLocated):
            return
        match judge(connection.holding, record, connection.ours_seen):
            case Judgement.OURS:
                connection.ours_seen = True
            case Judgement.REPLACED:
                self._replace(connection)
            case Judgement.OVERWRITTEN:
                connection.announce_again()
            case Judgement.NOTHING:
                pass

    def on_registry(self, station_id: str, _: Record | None = None) -> None:
        """Take note of a change of a station or its credentials: who would not be let in any more is put out."""
        connection = self._held.get(station_id)
        if connection is None:
            return
        models = self._context.models
        standing, credentials = models.standing(station_id), models.credentials.get(station_id)
        why = outdated(station_id, standing, credentials, connection.proof, models.rules.operator)
        if why is not None:
            connection.end(CloseCode.POLICY_VIOLATION, why)

    def on_revoked(self, is_revoked: Callable[[Certificate], bool]) -> None:
        """Put out whoever showed a certificate that is revoked now."""
        for connection in self:
            certificate = connection.proof.certificate
            if certificate is not None and is_revoked(certificate):
                connection.end(CloseCode.POLICY_VIOLATION, "certificate revoked")

    def dispatch(self, dispatch: DispatchCommand) -> None:
        """Send a command to its station, refuse it, or leave it to others; never twice."""
        station_id, epoch = dispatch.station_id, dispatch.connection_epoch
        if dispatch.event_id in self._taken:
            return
        connection, whose = self._addressed(station_id, epoch)
        if whose is Addressee.OTHERS:
            return
        _remember(self._taken, dispatch.event_id)
        if whose is Addressee.GONE or connection is None:
            refuse(self._context, dispatch, RefusalReason.NOT_HERE, "that connection is closed")
        elif self.draining:
            refuse(self._context, dispatch, RefusalReason.NOT_HERE, "the edge process is stopping")
        else:
            connection.lane.offer(dispatch)

    def answer(self, answer: AnswerCall) -> None:
        """Hand a processor's answer to the connection whose call it is for; drop it if that is gone."""
        connection, whose = self._addressed(answer.station_id, answer.connection_epoch)
        if whose is Addressee.OTHERS:
            return
        if whose is Addressee.GONE or connection is None:
            drop(answer, "gone")
        else:
            connection.conversation.take_answer(answer)

    def _addressed(self, station_id: str, epoch: int) -> tuple[StationConnection | None, Addressee]:
        """The station's connection here, and whose business something for its connection `epoch` is."""
        connection = self._held.get(station_id)
        return connection, addressee(
            self._context.edge_id,
            epoch,
            connection.holding.epoch if connection is not None else None,
            (station_id, epoch) in self._left,
            self._locations.get(station_id),
        )

    def bury_predecessor(self) -> int:
        """Post the ends of connections that an earlier process of the same edge id did not live to record.

        Returns how many. To be called once, before the first connection is opened.
        """
        now = now_us()
        lost = [
            record
            for record in self._locations.values()
            if record.edge_id == self._context.edge_id and record.connected
        ]
        post = self._context.publisher.post
        for record in lost:
            holding = Holding(record.station_id, record.edge_id, record.connection_epoch)
            scribe = Scribe(holding, record.slot, record.version)
            closed = scribe.closed(_ABNORMAL, "the edge process was lost", record.occurred_at, now)
            post(OCPP_LIFECYCLE, record.station_id, closed)
            left = scribe.located(False, now, record.security_profile, record.remote_address)
            post(EDGE_CONNECTIONS, record.station_id, left)
        if lost:
            log.warning("predecessor_was_lost", connections=len(lost))
        return len(lost)


def _remember(seen: dict[_T, None], item: _T) -> None:
    seen[item] = None
    if len(seen) > _REMEMBERED:
        del seen[next(iter(seen))]
