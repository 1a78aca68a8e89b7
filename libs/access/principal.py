"""Who asks: a person or a key, with its roles."""

from collections.abc import Iterable
from typing import Final

import msgspec

from libs.access.roles import PERMISSIONS, Permission, Role

EVERY_ORGANISATION: Final = "*"
"""In a grant: the role holds in all organisations, and for what belongs to none."""


class Grant(msgspec.Struct, frozen=True):
    """A role in an organisation (by id), or in EVERY_ORGANISATION."""

    role: Role
    organisation_id: str = EVERY_ORGANISATION


class Principal(msgspec.Struct, frozen=True):
    """Who asks. `name`: of the account, or of the key's owner; what is asked for carries it.

    `authenticated_at`: when a person last gave a password or second factor (microseconds); None for a key. `key_id`:
    which key it is, if it is one of the table.
    """

    name: str
    grants: tuple[Grant, ...]
    authenticated_at: int | None = None
    key_id: str = ""

    def may(self, permission: Permission, organisation_id: str | None = None) -> bool:
        """Whether a grant permits this in that organisation; None: of what belongs to no organisation."""
        return any(
            permission in PERMISSIONS[grant.role]
            for grant in self.grants
            if grant.organisation_id in (EVERY_ORGANISATION, organisation_id)
        )

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether a grant permits this in any organisation."""
        return any(permission in PERMISSIONS[grant.role] for grant in self.grants)

    def organisations(self, permission: Permission) -> frozenset[str] | None:
        """Where a grant permits this; None: in all organisations, and of what belongs to none."""
        found = frozenset(
            grant.organisation_id for grant in self.grants if permission in PERMISSIONS[grant.role]
        )
        return None if EVERY_ORGANISATION in found else found

    @property
    def permissions(self) -> frozenset[Permission]:
        """What any grant permits, in whatever organisation."""
        return frozenset().union(*(PERMISSIONS[grant.role] for grant in self.grants))


def principal(name: str, roles: Iterable[Role], authenticated_at: int | None = None) -> Principal:
    """Who has these roles in every organisation."""
    return Principal(name, tuple(Grant(role) for role in roles), authenticated_at)
