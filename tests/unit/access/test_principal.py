"""What roles permit, and where."""

import pytest

from libs.access.principal import Grant, Principal, principal
from libs.access.roles import FRESH, PERMISSIONS, Permission, Role

CHANGES = frozenset(Permission) - {
    Permission.READ,
    Permission.READ_FRAMES,
    Permission.READ_TOKENS,
    Permission.READ_AUDIT,
}


def test_every_role_reads_and_only_the_platform_s_admin_may_do_all() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert all(Permission.READ in permitted for permitted in PERMISSIONS.values())
    assert [role for role in Role if PERMISSIONS[role] == frozenset(Permission)] == [Role.PLATFORM_ADMIN]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR])
def test_who_only_looks_changes_nothing(role: Role) -> None:
    assert not PERMISSIONS[role] & CHANGES


def test_support_helps_drivers_and_disturbs_nobody() -> None:
    assert PERMISSIONS[Role.SUPPORT] & CHANGES == {Permission.COMMAND_READ, Permission.COMMAND_SESSION}


def test_what_needs_a_fresh_sign_in_is_for_engineers_and_admins() -> None:
    holders = {role for role in Role if PERMISSIONS[role] & FRESH}
    assert holders == {Role.ENGINEER, Role.TENANT_ADMIN, Role.PLATFORM_ADMIN}


def test_a_role_holds_in_its_organisation_only() -> None:
    anna = Principal("anna", (Grant(Role.OPERATOR, "north"), Grant(Role.VIEWER, "south")))
    assert anna.may(Permission.EDIT_TOKENS, "north")
    assert not anna.may(Permission.EDIT_TOKENS, "south")
    assert anna.may(Permission.READ, "south")
    assert not anna.may(Permission.READ, "west")
    assert not anna.may(Permission.READ)
    assert anna.may_somewhere(Permission.EDIT_TOKENS)
    assert not anna.may_somewhere(Permission.EDIT_ACCESS)


def test_a_role_in_every_organisation_holds_for_what_belongs_to_none() -> None:
    ben = principal("ben", [Role.SUPPORT])
    assert ben.may(Permission.COMMAND_SESSION)
    assert ben.may(Permission.COMMAND_SESSION, "north")
    assert not ben.may(Permission.COMMAND_DISRUPTIVE, "north")
    assert ben.permissions == PERMISSIONS[Role.SUPPORT]


def test_who_has_no_role_may_nothing() -> None:
    nobody = Principal("nobody", ())
    assert not nobody.permissions
    assert not nobody.may(Permission.READ)
