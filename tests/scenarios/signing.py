"""Certificates that stations ask for, and the operator's side of it: somebody signs, and the API hands on."""

from __future__ import annotations

import asyncio

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.integration.certificates import OPERATOR
from tests.integration.test_ocsp import CA
from tests.patience import until
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.unit.ocpp.csrs import csr_of


class StationKey:
    """A new key of a station, and the request to sign it."""

    def __init__(self, station_id: str) -> None:
        self._name = station_id
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def csr(self) -> str:
        return csr_of(self._name, organisation=OPERATOR, key=self._key)

    @property
    def subject(self) -> str:
        """Whom the request names."""
        return x509.load_pem_x509_csr(self.csr.encode()).subject.rfc4514_string()

    def signed(self) -> str:
        """The chain that an authority makes of it."""
        issued = CA.issue(self._name, self._key.public_key())
        return b"".join(each.public_bytes(Encoding.PEM) for each in (issued, CA.certificate)).decode()


async def request(rig: Rig, cp: ScriptedCharger, status: str = "OPEN") -> Json:
    """Wait until operators see the station's certificate request so; the request."""

    async def seen() -> Json | None:
        page = await rig.get("/certificate-requests", station_id=cp.station_id, status=status)
        items: list[Json] = page["items"]
        return items[0] if items else None

    found: Json = await until(seen)
    return found


async def hand_on(rig: Rig, cp: ScriptedCharger, wanted: Json, chain: str, answer: str) -> tuple[Json, Json]:
    """Answer a certificate request with a chain: what became of the command, and what the station got."""
    path = f"/certificate-requests/{wanted['request_id']}"
    sent, asked = await asyncio.gather(
        rig.post(path, {"certificate_chain": chain}), cp.expect("CertificateSigned", {"status": answer})
    )
    command: Json = sent["command"]
    return command, asked
