"""TLS files that change, and certificates that say odd things."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from services.edge.domain.authentication import Doubt
from services.edge.tls import Tls, TlsFiles, authorities_above
from tests.integration.certificates import OPERATOR, Authority, Issued, client_context

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


class Handshake:
    """One TLS handshake in memory. `resumed`: it went on with the client's earlier session."""

    def __init__(self, found: Tls, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = found.context.wrap_bio(to_server, to_client, server_side=True)
        self._client = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1", session=session)
        left = [self._client, self.server]
        while left:
            side = left.pop(0)
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                left.append(side)
        # With TLS 1.3 the session comes after the handshake.
        self.server.write(b"x")
        self._client.read(1)
        self.resumed = bool(self._client.session_reused)

    @property
    def shown(self) -> bytes | None:
        """The server's certificate (DER)."""
        return self._client.getpeercert(True)

    @property
    def suite(self) -> str:
        """OpenSSL's name of the cipher suite."""
        chosen = self._client.cipher()
        assert chosen is not None
        return chosen[0]

    @property
    def session(self) -> ssl.SSLSession:
        assert self._client.session is not None
        return self._client.session

    def doubt(self, found: Tls) -> Doubt | None:
        return found.certificate_of(self.server.getpeercert(True), NOW, authorities_above(self.server))[1]


def two_kinds(authority: Authority) -> tuple[Issued, Issued, TlsFiles]:
    one, other = (authority.issue("edge", server=True, by_rsa=by_rsa) for by_rsa in (False, True))
    files = TlsFiles(
        one.certificate,
        one.key,
        authority.ca,
        second_certificate=other.certificate,
        second_key=other.key,
    )
    return one, other, files


def test_stations_get_the_certificate_of_the_kind_that_they_know(authority: Authority) -> None:
    """1.6 A00.FR.317; 2.0.1 A00.FR.318 and A00.FR.421."""
    by_ec, by_rsa, files = two_kinds(authority)
    found = Tls(files, lambda _: None)
    for kind, wanted in (("ECDSA", by_ec), ("RSA", by_rsa)):
        for strength in ("AES128-GCM-SHA256", "AES256-GCM-SHA384"):
            client = client_context(authority.ca)
            client.maximum_version = ssl.TLSVersion.TLSv1_2
            client.set_ciphers(f"ECDHE-{kind}-{strength}")
            assert Handshake(found, client).shown == der(wanted)
    # Without the second one a station that knows only RSA has nothing to talk about.
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        Handshake(Tls(TlsFiles(by_ec.certificate, by_ec.key), lambda _: None), client)


def test_suites_without_forward_secrecy_are_for_those_who_ask_for_them(authority: Authority) -> None:
    """A00.FR.318: off unless it is set; and who knows a better suite gets that."""
    server = authority.issue("edge", server=True, by_rsa=True)
    files = TlsFiles(server.certificate, server.key)
    by_default, willing = Tls(files, lambda _: None), Tls(files, lambda _: None, rsa_key_exchange=True)
    for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384"):
        client = client_context(authority.ca)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(suite)
        assert Handshake(willing, client).suite == suite
        with pytest.raises(ssl.SSLError):
            Handshake(by_default, client)
    client.set_ciphers("kRSA+AESGCM:ECDHE+AESGCM")
    assert Handshake(willing, client).suite.startswith("ECDHE-RSA-")


def test_a_second_certificate_is_of_another_kind_and_read_again_when_it_changes(authority: Authority) -> None:
    by_ec, by_rsa, files = two_kinds(authority)
    again = authority.issue("edge", server=True)
    same = TlsFiles(by_ec.certificate, by_ec.key, None, None, again.certificate, again.key)
    with pytest.raises(ValueError, match="same kind"):
        Tls(same, lambda _: None)
    found = Tls(files, lambda _: None)
    new = authority.issue("edge", server=True, by_rsa=True)
    by_rsa.certificate.write_bytes(new.certificate.read_bytes())
    assert not found.refresh()
    by_rsa.key.write_bytes(new.key.read_bytes())
    assert found.refresh()
    client = client_context(authority.ca)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert Handshake(found, client).shown == der(new)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_not_resumed_past_a_revocation(authority: Authority, version: ssl.TLSVersion) -> None:
    found = tls(authority, authority.issue("127.0.0.1", server=True))
    mine = authority.issue("CP-1")
    client = client_context(authority.ca, mine)
    client.minimum_version = client.maximum_version = version
    first = Handshake(found, client)
    assert (first.resumed, first.doubt(found)) == (False, None)
    again = Handshake(found, client, first.session)
    assert (again.resumed, again.doubt(found)) == (True, None)
    # Begun before the list was read, looked at after.
    under_way = Handshake(found, client, again.session)
    authority.revoke(mine.serial)
    assert found.refresh()
    assert under_way.resumed
    assert under_way.doubt(found) is Doubt.REVOKED_CERTIFICATE
    after = Handshake(found, client, under_way.session)
    assert (after.resumed, after.doubt(found)) == (False, Doubt.REVOKED_CERTIFICATE)


def test_what_a_revoked_authority_issued_is_revoked(authority: Authority, tmp_path: Path) -> None:
    found = tls(authority, authority.issue("127.0.0.1", server=True))
    below, other = (Authority(tmp_path, name, authority) for name in ("Below", "Other"))
    mine, neighbour = (each.issue("CP-1") for each in (below, other))
    contexts = [client_context(authority.ca, each) for each in (mine, neighbour)]
    shakes = [Handshake(found, context) for context in contexts]
    assert [shake.doubt(found) for shake in shakes] == [None, None]
    authority.revoke(below.serial)
    assert found.refresh()
    # Those that are open are judged by what they showed then.
    assert [shake.doubt(found) for shake in shakes] == [Doubt.REVOKED_CERTIFICATE, None]
    later = [Handshake(found, context) for context in contexts]
    assert [shake.doubt(found) for shake in later] == [Doubt.REVOKED_CERTIFICATE, None]
