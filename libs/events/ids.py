"""Identities of records."""

from hashlib import sha1
from os import register_at_fork, urandom

_HEX_DIGITS = 32
_POOLED = 256

# Asking the kernel for each id costs more than everything else about it. Lists are safe to pop from in threads.
_pool: list[str] = []
# A child must not give out what its parent gives out.
register_at_fork(after_in_child=_pool.clear)


def _random_hex() -> str:
    """32 random hexadecimal digits."""
    try:
        return _pool.pop()
    except IndexError:
        digits = urandom(_POOLED * _HEX_DIGITS // 2).hex()
        _pool.extend([digits[at : at + _HEX_DIGITS] for at in range(_HEX_DIGITS, len(digits), _HEX_DIGITS)])
        return digits[:_HEX_DIGITS]


def new_trace() -> str:
    """A W3C `traceparent` that begins here, sampled."""
    return f"00-{_random_hex()}-{_random_hex()[:16]}-01"


def new_id() -> str:
    """A random UUID (version 4), for what comes from outside and has no cause in the log."""
    text = _random_hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def derive_id(cause_id: str, purpose: str) -> str:
    """The UUID (version 5, RFC 9562) of what `cause_id` leads to for `purpose`.

    The same cause and purpose always give the same id, so that a record emitted twice can be told.
    `cause_id` may be any text; a UUID is used as the namespace, other text is hashed into one first.
    """
    try:
        namespace = bytes.fromhex(cause_id.replace("-", "")) if len(cause_id) == 36 else b""
    except ValueError:
        namespace = b""
    if len(namespace) != 16:
        namespace = sha1(cause_id.encode(), usedforsecurity=False).digest()[:16]
    raw = bytearray(sha1(namespace + purpose.encode(), usedforsecurity=False).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x50
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
