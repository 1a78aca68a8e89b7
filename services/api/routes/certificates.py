"""Certificates that chargers ask for; who signs them is somebody else."""

from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.events.ids import derive_id
from libs.ocpp.semantics.commands import CertificateSigned
from libs.runtime.clock import now_us
from services.api.context import Api, Context, Requester
from services.api.conversation import Conversation
from services.api.domain.certificates import checked_chain, subject_of
from services.api.domain.errors import Conflict, NotFound
from services.api.equipment import (
    CertificateRequest,
    CertificateRequestQuery,
    CertificateRequests,
    CertificateSent,
    NewCertificate,
)
from services.api.routes.shared import ERRORS, in_thread, said_of

router = APIRouter(tags=["certificates"], responses=ERRORS)


@router.get("/certificate-requests", response_model=CertificateRequests)
async def list_certificate_requests(api: Api, query: Annotated[CertificateRequestQuery, Query()]) -> Response:
    """CSRs of chargers, open ones first, then the latest first."""
    rows = await api.reader.rows(
        "SELECT * FROM certificate_requests WHERE (%(station)s = '' OR station_id = %(station)s)"
        " AND (%(status)s = '' OR status = %(status)s)"
        " ORDER BY status = 'OPEN' DESC, requested_at DESC, request_id LIMIT %(limit)s",
        {"station": query.station_id or "", "status": query.status or "", "limit": query.limit},
    )
    return await in_thread(lambda: CertificateRequests(items=[_shown(row) for row in rows]))


@router.get("/certificate-requests/{request_id}")
async def get_certificate_request(api: Api, request_id: UUID) -> CertificateRequest:
    """One CSR."""
    return _shown(await _request(api, request_id))


@router.post("/certificate-requests/{request_id}")
async def answer_certificate_request(
    api: Api, requester: Requester, request_id: UUID, body: NewCertificate
) -> CertificateSent:
    """Send the certificate that answers a CSR (CertificateSigned), and wait for the charger's word.

    422 if the chain is none, or is for another key; 409 if a certificate was sent already. After one that the charger
    did not take another may be sent.
    """
    row = await _request(api, request_id)
    if row["status"] in ("PENDING", "ACCEPTED", "DECLINED"):
        raise Conflict(f"this request is {row['status']}")
    path = "/certificate_chain"
    chain = checked_chain(body.certificate_chain, row["csr"], now_us(), path)
    talk = Conversation(api, row["station_id"], requested_by=requester, timeout_s=body.timeout_s)
    command = CertificateSigned(
        chain,
        "v2g" if row["certificate_type"] == "V2GCertificate" else "station",
        row["station_request_id"],
    )
    # The same answer to the same request twice is one command; after a failure it is another.
    attempt = f"{row['command_id']}/{sha256(chain.encode()).hexdigest()}"
    said = await talk.ask(
        command, path=path, cause_id=row["request_id"], command_id=derive_id(row["request_id"], attempt)
    )
    return CertificateSent(request_id=row["request_id"], station_id=row["station_id"], command=said_of(said))


async def _request(api: Context, request_id: UUID) -> dict[str, Any]:
    rows = await api.reader.rows(
        "SELECT * FROM certificate_requests WHERE request_id = %(id)s", {"id": str(request_id)}
    )
    if not rows:
        raise NotFound(f"there is no certificate request {request_id}")
    return rows[0]


def _shown(row: dict[str, Any]) -> CertificateRequest:
    return CertificateRequest.model_validate({**row, "subject": subject_of(row["csr"])})
