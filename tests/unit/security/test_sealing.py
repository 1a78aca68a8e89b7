"""Sealed texts tell nothing without the key, and fit one purpose."""

import pytest

from libs.security.sealing import Sealer, is_sealed

KEY = "a key of some length"


def test_what_is_sealed_is_opened_with_the_same_key_and_purpose_alone() -> None:
    sealed = Sealer(KEY).seal("secret", "cp1")
    assert is_sealed(sealed)
    assert not is_sealed("secret")
    assert "secret" not in sealed
    assert Sealer(KEY).open(sealed, "cp1") == "secret"
    for sealer, purpose in [(Sealer(KEY + "x"), "cp1"), (Sealer(KEY), "cp2")]:
        with pytest.raises(ValueError, match="another key"):
            sealer.open(sealed, purpose)
    for broken in (
        sealed[:-4],
        sealed + "AAAA",
        "sealed:1:",
        "sealed:1:!",
        sealed[:12] + sealed[12].swapcase() + sealed[13:],
    ):
        with pytest.raises(ValueError, match=r"."):
            Sealer(KEY).open(broken, "cp1")


def test_the_same_text_looks_the_same_and_another_does_not() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal("secret", "cp1") == sealer.seal("secret", "cp1")
    assert sealer.seal("secret", "cp1") != sealer.seal("secret", "cp2")
    assert sealer.seal("secret", "cp1")[:20] != sealer.seal("secreu", "cp1")[:20]
