"""TLS files that change, and certificates that say odd things."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from services.edge.domain.authentication import Doubt
from services.edge.tls import Tls, TlsFiles
from tests.integration.certificates import OPERATOR, Authority, Issued

NOW = 1_000_000


def der(issued: Issued) -> bytes:
    return issued.x509.public_bytes(Encoding.DER)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, server: Issued) -> Tls:
    return Tls(TlsFiles(server.certificate, server.key, authority.ca, authority.crl), lambda _: None)


def test_what_a_certificate_says(authority: Authority) -> None:
    found = tls(authority, authority.issue("edge", server=True))
    mine = authority.issue("CP-1")
    certificate, flaw = found.certificate_of(der(mine), NOW)
    assert certificate is not None
    assert (certificate.names, certificate.organisations, flaw) == (("CP-1",), (OPERATOR,), None)
    late = int(mine.x509.not_valid_after_utc.timestamp() + 1) * 1_000_000
    assert found.certificate_of(der(mine), late)[1] is Doubt.EXPIRED_CERTIFICATE
    assert found.certificate_of(None, NOW) == (None, None)
    assert found.certificate_of(b"", NOW) == (None, None)
    nobody, flaw = found.certificate_of(b"no certificate", NOW)
    assert nobody is not None
    assert (nobody.names, flaw) == ((), Doubt.WRONG_CERTIFICATE)


def test_a_changed_list_is_read_and_names_only_its_issuers_certificates(
    authority: Authority, tmp_path: Path
) -> None:
    found = tls(authority, authority.issue("edge", server=True))
    mine, other = authority.issue("CP-1"), authority.issue("CP-2")
    assert not found.refresh()
    authority.revoke(mine.serial)
    assert found.refresh()
    assert not found.refresh()
    assert found.certificate_of(der(mine), NOW)[1] is Doubt.REVOKED_CERTIFICATE
    assert found.certificate_of(der(other), NOW)[1] is None
    # A serial number is one issuer's.
    (tmp_path / "b").mkdir()
    foreign = Authority(tmp_path / "b", "Another")
    foreign.revoke(other.serial)
    authority.crl.write_bytes(authority.crl.read_bytes() + foreign.crl.read_bytes())
    assert found.refresh()
    assert found.certificate_of(der(mine), NOW)[1] is Doubt.REVOKED_CERTIFICATE
    assert found.certificate_of(der(other), NOW)[1] is None


def test_files_that_cannot_be_used_change_nothing(authority: Authority) -> None:
    server = authority.issue("edge", server=True)
    found = tls(authority, server)
    mine = authority.issue("CP-1")
    authority.revoke(mine.serial)
    assert found.refresh()
    before = found.context.current
    for path, content in [
        (authority.crl, b"no list"),
        (server.key, authority.issue("other").key.read_bytes()),
        (server.certificate, b""),
        (authority.ca, b"-----BEGIN"),
    ]:
        good = path.read_bytes()
        path.write_bytes(content)
        assert not found.refresh()
        assert found.context.current is before
        assert found.certificate_of(der(mine), NOW)[1] is Doubt.REVOKED_CERTIFICATE
        path.write_bytes(good)
        assert found.refresh()
        before = found.context.current
    server.key.unlink()
    assert not found.refresh()
    assert found.context.current is before


def test_without_usable_files_it_does_not_start(authority: Authority, tmp_path: Path) -> None:
    server = authority.issue("edge", server=True)
    with pytest.raises(OSError, match="nowhere"):
        Tls(TlsFiles(tmp_path / "nowhere", server.key), lambda _: None)
    with pytest.raises(ssl.SSLError):
        Tls(TlsFiles(server.certificate, authority.issue("other").key), lambda _: None)


def test_without_an_authority_no_certificate_is_asked_for(authority: Authority) -> None:
    server = authority.issue("edge", server=True)
    found = Tls(TlsFiles(server.certificate, server.key), lambda _: None)
    assert found.context.current.verify_mode is ssl.CERT_NONE
