"""A version-free command in the words of one OCPP version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.ocpp.semantics import encode_v2, encode_v16
from libs.ocpp.semantics.commands import Command
from libs.ocpp.semantics.encode_v16 import EncodedCall
from libs.ocpp.versions import Version

ENCODERS: Final[Mapping[Version, Mapping[type, Callable[[Any], EncodedCall]]]] = {
    Version.V16: encode_v16.ENCODERS,
    Version.V201: encode_v2.ENCODERS,
    Version.V21: encode_v2.ENCODERS_21,
}


class Unsupported(ValueError):
    """What was asked takes a ``feature`` that the version, or this charger, does not have."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"unsupported: {feature}")
        self.feature = feature


def encode_command(version: Version, command: Command) -> EncodedCall:
    """Return action and payload, conforming to the version's schema; absent optionals are left out.

    Texts are taken as they are: one that is longer than the version allows does not conform. Raises
    `Unsupported` for what the version has no message for, ``ValueError`` for what it cannot express: a transaction
    id that is no number in 1.6, a ``valid_seconds`` without ``starts_at``, several changes in one 1.6 message.
    """
    encoder = ENCODERS[version].get(type(command))
    if encoder is None:
        raise Unsupported(type(command).__name__)
    return encoder(command)
