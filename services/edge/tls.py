"""TLS of the edge: certificate, client authority and revocation list from files that may change at any time."""

import ctypes
import re
import ssl
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from libs.ocpp.certificates import values_of
from libs.runtime.clock import SECOND
from libs.runtime.logging import get_logger
from services.edge import metrics
from services.edge.domain.authentication import Certificate, Doubt

log = get_logger(__name__)

# Security whitepaper A00.FR.318, 2.0.1 A00.FR.319 and 320. Level 2: RSA from 2048, EC from 224 bits on.
_CIPHERS: Final = "ECDHE+AESGCM:@SECLEVEL=2"
# A00.FR.318 names these, too. They have no forward secrecy, and are behind the others.
_CIPHERS_WITH_RSA: Final = "ECDHE+AESGCM:kRSA+AESGCM:@SECLEVEL=2"
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_DER: Final = 2
_UNREADABLE: Final = Certificate((), (), b"", 0)
_PEM_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

Stamps = tuple[tuple[int, int, int] | None, ...]


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files. `certificate`: ours, with its chain. `client_ca`: who issues the stations'; `crl`: its lists.

    `second_certificate` has a key of another kind, for stations that know only that.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    crl: Path | None = None
    second_certificate: Path | None = None
    second_key: Path | None = None

    @property
    def ours(self) -> tuple[tuple[Path, Path], ...]:
        """Our certificates with their keys."""
        first = (self.certificate, self.key)
        if self.second_certificate is None or self.second_key is None:
            return (first,)
        return first, (self.second_certificate, self.second_key)


class _Material(msgspec.Struct, frozen=True):
    context: ssl.SSLContext
    revoked: frozenset[tuple[bytes, int]]


class _Context(ssl.SSLContext):
    """What the server is given once; each handshake takes the context that is in force then."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        return self.current.wrap_bio(*arguments, **options)


class Tls:
    """The server's side of TLS. `on_failure` is called for each handshake that failed, with why.

    `rsa_key_exchange`: whether stations that know nothing else may do without forward secrecy.
    """

    def __init__(
        self, files: TlsFiles, on_failure: Callable[[str], None], *, rsa_key_exchange: bool = False
    ) -> None:
        """Read the files. Raises OSError (ssl.SSLError is one) or ValueError if they cannot be used."""
        self._files = files
        self._on_failure = on_failure
        self._ciphers = _CIPHERS_WITH_RSA if rsa_key_exchange else _CIPHERS
        self._stamps = self._look()
        self._material = self._read()
        self.context = _Context(ssl.PROTOCOL_TLS_SERVER)
        self.context.current = self._material.context

    def refresh(self) -> bool:
        """Read the files again if they have changed; says whether new ones are in force.

        What cannot be used is logged, and the old ones stay in force. Blocks for milliseconds.
        """
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self._material = self._read()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            metrics.TLS_RELOADS.labels("failed").inc()
            log.error("tls_files_unusable", error=str(error))
            return False
        self.context.current = self._material.context
        metrics.TLS_RELOADS.labels("done").inc()
        log.info("tls_files_read", revoked=len(self._material.revoked))
        return True

    def certificate_of(
        self, peer: bytes | None, now: int, above: Iterable[bytes] = ()
    ) -> tuple[Certificate | None, Doubt | None]:
        """The client certificate (DER) of a finished handshake, and what is wrong with it at `now` (microseconds).

        `above`: the authorities' certificates that led to one that is trusted.
        """
        if not peer:
            return None, None
        try:
            read = x509.load_der_x509_certificate(peer)
            certificate = Certificate(
                values_of(read.subject, NameOID.COMMON_NAME),
                values_of(read.subject, NameOID.ORGANIZATION_NAME),
                read.issuer.public_bytes(),
                read.serial_number,
                tuple(map(_named, above)),
            )
        except (ValueError, UnsupportedAlgorithm):
            # Our authority has signed it, and still nobody is named by what cannot be read.
            return _UNREADABLE, Doubt.WRONG_CERTIFICATE
        if self.is_revoked(certificate):
            return certificate, Doubt.REVOKED_CERTIFICATE
        # The handshake checked it unless it resumed an earlier session.
        if read.not_valid_after_utc.timestamp() * SECOND < now:
            return certificate, Doubt.EXPIRED_CERTIFICATE
        return certificate, None

    def is_revoked(self, certificate: Certificate) -> bool:
        """Whether a list in force names it, or an authority above it."""
        revoked = self._material.revoked
        return (certificate.issuer, certificate.serial) in revoked or not revoked.isdisjoint(
            certificate.above
        )

    def _look(self) -> Stamps:
        files = self._files
        ours = (path for pair in files.ours for path in pair)
        return tuple(map(_stamp, (*ours, files.client_ca, files.crl)))

    def _read(self) -> _Material:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(self._ciphers)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        expires = _load_ours(context, files.ours)
        if files.client_ca is not None:
            files.client_ca.read_bytes()
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        context.sslobject_class = _watched(self._on_failure)
        revoked = (
            _revoked(files.crl.read_bytes()) if files.crl is not None else frozenset[tuple[bytes, int]]()
        )
        metrics.TLS_EXPIRES.labels("certificate").set(expires)
        return _Material(context, revoked)


def _load_ours(context: ssl.SSLContext, ours: Iterable[tuple[Path, Path]]) -> float:
    """Load certificates with their keys; when the first of them expires (Unix time).

    Raises ValueError for two with keys of one kind: the library would take the second for a new first one.
    """
    expires: list[float] = []
    kinds: set[type] = set()
    for certificate, key in ours:
        # These errors name the file; those of the TLS library do not.
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        key.read_bytes()
        kind = type(read.public_key())
        if kind in kinds:
            raise ValueError(f"{certificate} has a key of the same kind as the first certificate")
        kinds.add(kind)
        context.load_cert_chain(certificate, key)
        expires.append(read.not_valid_after_utc.timestamp())
    return min(expires)


def authorities_above(encrypted: ssl.SSLObject) -> list[bytes]:
    """The certificates (DER) by which the peer's was found good in this handshake, without its own.

    None if the handshake resumed an earlier session: that was with the same files, for others have keys of their own.
    """
    # Python 3.13 makes this public.
    chain: Any = encrypted._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [each.public_bytes(_DER) for each in chain[1:]] if chain else []


def keep_large_buffers_apart() -> None:
    """Make glibc map each buffer from 128 KiB on by itself, for the rest of the process; to be called early.

    The event loop has one of 256 KiB for each TLS socket and uses the first kilobyte of it. Left to itself glibc soon
    takes them from its heap, where all of it becomes resident.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # What has been freed so far must go back, or it would be used first.
        mallopt(_M_TRIM_THRESHOLD, 128 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)


def _watched(on_failure: Callable[[str], None]) -> type[ssl.SSLObject]:
    """Handshakes that tell why they failed: the event loop keeps that to itself."""

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLCertVerificationError:
                on_failure("certificate")
                raise
            except ssl.SSLError:
                on_failure("protocol")
                raise

    return Watched


def _revoked(raw: bytes) -> frozenset[tuple[bytes, int]]:
    """Issuer and serial of every certificate that the lists name. Raises ValueError for what is no list."""
    blocks = _PEM_CRL.findall(raw)
    lists = [x509.load_pem_x509_crl(block) for block in blocks] or [x509.load_der_x509_crl(raw)]
    due = [crl.next_update_utc.timestamp() for crl in lists if crl.next_update_utc is not None]
    if due:
        metrics.TLS_EXPIRES.labels("crl").set(min(due))
    return frozenset((crl.issuer.public_bytes(), entry.serial_number) for crl in lists for entry in crl)


@lru_cache(maxsize=256)
def _named(authority: bytes) -> tuple[bytes, int]:
    """Issuer and serial, by which lists name a certificate."""
    read = x509.load_der_x509_certificate(authority)
    return read.issuer.public_bytes(), read.serial_number


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
