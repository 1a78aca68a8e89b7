"""Transaction ids of OCPP 1.6, which the central system hands out."""

from __future__ import annotations

import hashlib
from typing import Final

_MASK: Final = 0x7FFF_FFFF


def transaction_id_16(  # noqa: PLR0917  (the five facts of a StartTransaction, in the order of the message)
    key: bytes, station: str, connector_id: int, id_tag: str, timestamp: str, meter_start: int
) -> int:
    """Return the id of the transaction that a StartTransaction begins: a positive 31-bit keyed hash.

    The same StartTransaction, sent again to any edge process with the same ``key`` (1 to 64 bytes), gets the
    same id; without the key nobody can guess it. Never 0, which real chargers use for "none". Pass
    ``timestamp`` as received.
    """
    digest = hashlib.blake2b(key=key, digest_size=8, person=b"ocpp16-tx")
    for part in (station, str(connector_id), id_tag, timestamp, str(meter_start)):
        data = part.encode("utf-8", "surrogatepass")
        # Length-prefixed, so that no two different starts feed the same bytes.
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big") % _MASK + 1
