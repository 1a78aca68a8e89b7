"""Identities of records."""

from hashlib import sha1
from os import register_at_fork, urandom

_HEX_DIGITS = 32
_POOLED = 256
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The digit of a UUID that says how to read the others (RFC 9562 section 4.1), with its two free bits."""

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
    return _uuid(_random_hex(), 4)


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
    return _uuid(sha1(namespace + purpose.encode(), usedforsecurity=False).hexdigest(), 5)


def _uuid(digits: str, version: int) -> str:
    """The UUID of 32 or more hexadecimal digits."""
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
