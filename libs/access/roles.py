"""Roles of people and keys, and what each permits."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Permission(StrEnum):
    """What a request needs. The `COMMAND_...` are the command classes of `libs.access.command_classes`."""

    READ = "read"
    """Stations, sites, sessions, charge records, tariffs, campaigns, commands and live state."""
    READ_FRAMES = "read_frames"
    """Messages as chargers sent them."""
    READ_TOKENS = "read_tokens"
    """Id tokens and the drivers they belong to."""
    READ_AUDIT = "read_audit"
    COMMAND_READ = "command_read"
    """Commands that ask a charger and change nothing."""
    COMMAND_SESSION = "command_session"
    """Commands that help one driver: remote start and stop, unlocking, a message on the display."""
    COMMAND_DISRUPTIVE = "command_disruptive"
    """Commands that others at the charger may notice: resets, availability, limits, configuration."""
    COMMAND_SECURITY = "command_security"
    """Commands that touch credentials, certificates or firmware."""
    COMMAND_BULK = "command_bulk"
    """Commands to many chargers at once."""
    EDIT_STATIONS = "edit_stations"
    """Stations, sites, and what their chargers know of tokens."""
    EDIT_TOKENS = "edit_tokens"
    EDIT_TARIFFS = "edit_tariffs"
    DECIDE_SESSIONS = "decide_sessions"
    """Decisions on energy in review."""
    RUN_CAMPAIGNS = "run_campaigns"
    EDIT_ACCESS = "edit_access"
    """Accounts and keys of the organisation."""
    EDIT_PLATFORM = "edit_platform"
    """Organisations, and accounts and keys that reach beyond one."""


class Role(StrEnum):
    """A person's or key's part in an organisation."""

    VIEWER = "viewer"
    SUPPORT = "support"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    TENANT_ADMIN = "tenant-admin"
    PLATFORM_ADMIN = "platform-admin"
    AUDITOR = "auditor"


_VIEWER: Final = frozenset({Permission.READ})
_SUPPORT: Final = _VIEWER | {
    Permission.READ_FRAMES,
    Permission.READ_TOKENS,
    Permission.COMMAND_READ,
    Permission.COMMAND_SESSION,
}
_OPERATOR: Final = _SUPPORT | {
    Permission.COMMAND_DISRUPTIVE,
    Permission.EDIT_STATIONS,
    Permission.EDIT_TOKENS,
    Permission.DECIDE_SESSIONS,
}
_ENGINEER: Final = _VIEWER | {
    Permission.READ_FRAMES,
    Permission.COMMAND_READ,
    Permission.COMMAND_SESSION,
    Permission.COMMAND_DISRUPTIVE,
    Permission.COMMAND_SECURITY,
    Permission.COMMAND_BULK,
    Permission.EDIT_STATIONS,
    Permission.RUN_CAMPAIGNS,
}
_PLATFORM_ADMIN: Final = frozenset(Permission)

PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.VIEWER: _VIEWER,
        Role.SUPPORT: _SUPPORT,
        Role.OPERATOR: _OPERATOR,
        Role.ENGINEER: _ENGINEER,
        Role.TENANT_ADMIN: _PLATFORM_ADMIN - {Permission.EDIT_PLATFORM},
        Role.PLATFORM_ADMIN: _PLATFORM_ADMIN,
        Role.AUDITOR: _VIEWER | {Permission.READ_FRAMES, Permission.READ_TOKENS, Permission.READ_AUDIT},
    }
)

FRESH: Final = frozenset(
    {
        Permission.COMMAND_SECURITY,
        Permission.COMMAND_BULK,
        Permission.EDIT_ACCESS,
        Permission.EDIT_PLATFORM,
    }
)
"""What a person may change only a short while after signing in."""
