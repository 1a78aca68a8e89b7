"""Documents about charges, word by word: every version of a charge record, and every credit note."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query, Response
from pydantic import Field, model_validator

from libs.access.roles import Permission
from libs.events.sessions import CdrCredited, CdrIssued
from services.api.context import Api
from services.api.domain.cursors import cursor_of, position_at
from services.api.http.fields import Folded, Output, Time
from services.api.http.paging import ListQuery, Page
from services.api.http.permissions import needs
from services.api.http.routing import in_thread, routes
from services.api.rows import record_of

router = routes("sessions and charge records")


class CdrDocument(Output):
    """A document as it is on the topic `billing.cdrs`, at `partition` and `offset`.

    `document`: its fields as the topic's schema has them, moments in microseconds since 1970: what its hash is over.
    """

    type: Literal["CdrIssued", "CdrCredited"]
    partition: int
    offset: int
    issued_at: Time
    document: dict[str, Any]


class CdrDocumentQuery(ListQuery):
    """Which documents; at least one of these is needed."""

    station_id: Folded | None = None
    session_id: str | None = None
    cdr_id: str | None = None
    hash: str | None = Field(None, description="The one document with this hash; together with `station_id`.")

    @model_validator(mode="after")
    def _found_by_an_index(self) -> "CdrDocumentQuery":
        if self.station_id is None and self.session_id is None and self.cdr_id is None:
            raise ValueError("station_id, session_id or cdr_id is needed")
        return self


@router.get(
    "/cdr-documents", dependencies=needs(Permission.READ, personal=True), response_model=Page[CdrDocument]
)
async def list_documents(api: Api, query: Annotated[CdrDocumentQuery, Query()]) -> Response:
    """Documents about charges in the order of their issue, which is that of the station's chain of hashes."""
    after = -1 if query.cursor is None else int(position_at(query.cursor, int)[0])
    asked = query.model_dump(exclude_none=True, include={"station_id", "session_id", "cdr_id", "hash"})
    rows = await api.history.documents(asked, after, query.limit + 1)
    shown = rows[: query.limit]
    cursor = cursor_of((shown[-1]["_offset"],)) if len(rows) > query.limit else None
    return await in_thread(lambda: Page(items=[_document(row) for row in shown], next_cursor=cursor))


def _document(row: dict[str, Any]) -> CdrDocument:
    kind = CdrIssued if row["_type"] == CdrIssued.__name__ else CdrCredited
    record = record_of(kind, row)
    return CdrDocument(
        type=row["_type"],
        partition=row["_partition"],
        offset=row["_offset"],
        issued_at=row["recorded_at"],
        document=msgspec.to_builtins(record),
    )
