"""Whose key a request has: one of the settings, or one of the table."""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from libs.access.principal import Principal, principal
from libs.access.roles import Role
from services.api.access.table import PREFIX, SIGN_IN_PREFIX
from services.api.settings import PLATFORM

_PLATFORM: Final = (Role.PLATFORM_ADMIN,)
_OPERATOR: Final = (Role.OPERATOR, Role.ENGINEER)
_TABLED: Final = (f"{PREFIX}_".encode(), f"{SIGN_IN_PREFIX}_".encode())


class Callers:
    """`configured`: the keys of the settings by the name of whose they are. `of_table`: whose a key of the table is.

    The platform's key is that of a platform-admin, those of operators are of operators and engineers of all
    organisations.
    """

    def __init__(self, configured: Mapping[str, str], of_table: Callable[[str], Principal | None]) -> None:
        self._configured = {
            principal(name, _PLATFORM if name == PLATFORM else _OPERATOR): sha256(key.encode()).digest()
            for name, key in configured.items()
        }
        self._of_table = of_table

    def principal_of_key(self, key: bytes) -> Principal | None:
        """Whose key this is, None for a wrong one."""
        # Digests, and all of them: neither content nor length nor whose key it is shows in the time that it takes.
        given = sha256(key).digest()
        found = [who for who, known in self._configured.items() if hmac.compare_digest(given, known)]
        if found:
            return found[0]
        return self._of_table(key.decode("ascii", "replace")) if key.startswith(_TABLED) else None
