"""Certificates that chargers ask for; who signs them is somebody else."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field, StringConstraints

from libs.access.roles import Permission
from libs.ocpp.certificates import Owner
from libs.ocpp.semantics.commands import CertificateSigned
from libs.runtime.clock import now_us
from services.api.commands.conversation import Conversation
from services.api.context import Api, Context, Requester
from services.api.domain.certificate_chains import checked_answer, flaw_of, subject_of
from services.api.domain.command_status import CommandStatus
from services.api.domain.errors import Conflict, NotFound
from services.api.equipment.said import CommandSaid, Timeout, said_of
from services.api.http.fields import Folded, Input, Output, Time
from services.api.http.permissions import needs
from services.api.http.routing import in_thread, routes

_USES: Final[Mapping[str, Literal["v2g", "v2g20"]]] = {
    "V2GCertificate": "v2g",
    "V2G20Certificate": "v2g20",
}

RequestStatus = Literal["OPEN", "DECLINED", CommandStatus]


class CertificateRequestQuery(Input):
    """Filters of certificate requests."""

    station_id: Folded | None = None
    status: RequestStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class CertificateRequest(Output):
    """A CSR (PEM) that a charger sent. `subject`: whom it is for, null if it cannot be read.

    `certificate_name`: what the charger's own certificate has to be called; `flaw`: why nobody should sign this, null
    if nothing speaks against it. `status`: OPEN until a certificate is sent, DECLINED if the charger was told that
    nobody signs it; then what became of the command that sent one.
    """

    request_id: str
    station_id: str
    version: str
    certificate_type: str
    csr: str
    subject: str | None
    certificate_name: str
    flaw: str | None
    requested_at: Time
    status: RequestStatus
    command_id: str | None


class CertificateRequests(Output):
    """Certificate requests, open ones first, then the latest first."""

    items: list[CertificateRequest]


class NewCertificate(Input):
    """What answers a CSR."""

    certificate_chain: Annotated[str, StringConstraints(min_length=1, max_length=40_000)] = Field(
        description="PEM, the charger's own certificate first, its issuers after it."
    )
    timeout_s: Timeout = 60


class CertificateSent(Output):
    """The command that took a certificate to its charger."""

    request_id: str
    station_id: str
    command: CommandSaid


router = routes("certificates")


@router.get("/certificate-requests", dependencies=needs(Permission.READ), response_model=CertificateRequests)
async def list_certificate_requests(api: Api, query: Annotated[CertificateRequestQuery, Query()]) -> Response:
    """CSRs of chargers, open ones first, then the latest first."""
    rows = await api.reader.rows(
        "SELECT * FROM certificate_requests WHERE (%(station)s = '' OR station_id = %(station)s)"  # noqa: S608
        f" AND (%(status)s = '' OR status = %(status)s) AND {api.scope.within}"
        " ORDER BY status = 'OPEN' DESC, requested_at DESC, request_id LIMIT %(limit)s",
        {"station": query.station_id or "", "status": query.status or "", "limit": query.limit},
    )
    owners = _owners(api)
    return await in_thread(lambda: CertificateRequests(items=[_shown(row, owners) for row in rows]))


@router.get("/certificate-requests/{request_id}", dependencies=needs(Permission.READ))
async def get_certificate_request(api: Api, request_id: UUID) -> CertificateRequest:
    """One CSR."""
    return _shown(await _request(api, request_id), _owners(api))


@router.post("/certificate-requests/{request_id}", dependencies=needs(Permission.COMMAND_SECURITY))
async def answer_certificate_request(
    api: Api, requester: Requester, request_id: UUID, body: NewCertificate
) -> CertificateSent:
    """Send the certificate that answers a CSR (CertificateSigned), and wait for the charger's word.

    422 if the chain is none, is for another key, or in another's name; 409 if a certificate was sent already. After
    one that the charger did not take another may be sent.
    """
    row = await _request(api, request_id)
    api.scope.must_at(Permission.COMMAND_SECURITY, [row["station_id"]])
    if row["status"] in ("ACCEPTED", "DECLINED"):
        raise Conflict(f"this request is {row['status']}")
    path = "/certificate_chain"
    use, owner = row["certificate_type"], _owners(api)(row["station_id"])
    chain = checked_answer(body.certificate_chain, row["csr"], use, owner, now=now_us(), path=path)
    talk = await Conversation.begin(api, row["station_id"], requested_by=requester, timeout_s=body.timeout_s)
    command = CertificateSigned(chain, _USES.get(use, "station"), row["station_request_id"])
    said = await talk.ask(
        command,
        path=path,
        cause_id=row["request_id"],
        write=lambda request: api.certificates.write(request, row["command_id"]),
    )
    return CertificateSent(request_id=row["request_id"], station_id=row["station_id"], command=said_of(said))


async def _request(api: Context, request_id: UUID) -> dict[str, Any]:
    rows = await api.reader.rows(
        "SELECT * FROM certificate_requests WHERE request_id = %(id)s", {"id": str(request_id)}
    )
    if not rows:
        raise NotFound(f"there is no certificate request {request_id}")
    return rows[0]


def _owners(api: Context) -> Callable[[str], Owner]:
    return api.registry.owners(api.settings.tls_operator)


def _shown(row: dict[str, Any], owners: Callable[[str], Owner]) -> CertificateRequest:
    owner = owners(row["station_id"])
    seen = {
        "subject": subject_of(row["csr"]),
        "certificate_name": owner.name,
        "flaw": flaw_of(row["csr"], row["certificate_type"], owner),
    }
    return CertificateRequest.model_validate(row | seen)
