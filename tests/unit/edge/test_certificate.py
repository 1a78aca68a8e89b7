"""A certificate that an edge makes itself is good for its names, once."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.edge.certificate import AUTHORITY, make


def shake_hands(folder: Path, name: str) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "edge.pem", folder / "edge.key")
    client = ssl.create_default_context(cafile=str(folder / AUTHORITY))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, server_hostname=name)]
    for _ in range(4):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_it_is_good_for_the_names_that_were_given(tmp_path: Path) -> None:
    names = ["chargers.example.org", "192.0.2.7"]
    assert make(tmp_path / "edge.pem", tmp_path / "edge.key", names, datetime.now(UTC))
    for name in names:
        shake_hands(tmp_path, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "elsewhere.example.org")
    assert (tmp_path / "edge.key").stat().st_mode & 0o077 == 0


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "edge.pem").write_text("an operator's own")
    assert not make(tmp_path / "edge.pem", tmp_path / "edge.key", ["localhost"], datetime.now(UTC))
    assert [path.name for path in tmp_path.iterdir()] == ["edge.pem"]
