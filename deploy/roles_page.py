"""`docs/roles.md`, from the roles, the command classes and the API's routes: who may do what."""

from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final, cast

from libs.access.command_classes import COMMAND_CLASSES, COMMAND_PERMISSIONS
from libs.access.roles import FRESH, PERMISSIONS, Permission, Role
from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
from services.api.http.routing import ROOT
from services.api.settings import ApiSettings

PAGE: Final = "docs/roles.md"

_ABOUT: Final = """# Roles

Generated from `libs/access` and the API's routes by `make docs`. How people and keys get roles:
[security](security.md#who-may-do-what).

A person or key may have several roles and may do what any of them may. Each role holds in one organisation, or in all:
[organisations](security.md#organisations).
"""
_FRESH: Final = """
\\* A person, but no key, needs to have given the password within `VOLTBUS_FRESH_S` to change something with these.
"""
_COMMANDS: Final = """
## Commands

Commands need these, whichever OCPP version the charger speaks. A command that is not known needs `command_security`.

| permission | commands |
|---|---|
"""
_PAYLOADS: Final = """
Some need more or less by what they carry. `ChangeConfiguration` and `SetVariables` need `command_security` for keys
that concern credentials, certificates, the charger's identity or the central system's address; so do
`TriggerMessage` and `ExtendedTriggerMessage` for a certificate request. `CustomerInformation` that clears nothing
needs `command_read`.
`DataTransfer` needs `command_security`, since nobody can tell what a maker's own message does.
"""
_ROUTES: Final = """
## Routes

Some ask for more by what they carry: a command for its class, and a station with `allow_security_downgrade` for
`command_security`. A bulk command needs `command_bulk` and what its command needs to one charger. `read_audit` is not
asked for yet. Sessions, charge records and commands of the API carry id tokens: who may read those reads them. The
console hides them from those without `read_tokens`.

| permission | routes below `/api/v1` |
|---|---|
"""


def roles_page() -> str:
    """The page as Markdown."""
    head = f"| permission | {' | '.join(Role)} |\n|---|{':-:|' * len(Role)}\n"
    commands: defaultdict[Permission, list[str]] = defaultdict(list)
    for action, permission in sorted(COMMAND_CLASSES.items()):
        commands[permission].append(f"`{action}`")
    routes = dict(_routes())
    return "".join(
        (
            _ABOUT,
            "\n",
            head,
            *(_row(permission) for permission in Permission),
            _FRESH,
            _COMMANDS,
            *(f"| `{each}` | {', '.join(commands[each])} |\n" for each in COMMAND_PERMISSIONS),
            _PAYLOADS,
            _ROUTES,
            *(f"| `{each}` | {', '.join(routes[each])} |\n" for each in Permission if each in routes),
        )
    )


def _row(permission: Permission) -> str:
    star = "\\*" if permission in FRESH else ""
    cells = ("yes" if permission in PERMISSIONS[role] else "" for role in Role)
    return f"| `{permission}`{star} | {' | '.join(cells)} |\n"


def _routes() -> Iterator[tuple[Permission, list[str]]]:
    settings = ApiSettings.model_validate({"api_key": "only to describe it"})
    context = cast(Context, SimpleNamespace(settings=settings))
    described: dict[str, Any] = create_application(context, Health()).openapi()["paths"]
    found: defaultdict[Permission, list[str]] = defaultdict(list)
    for path, methods in described.items():
        by_permission: defaultdict[str, list[str]] = defaultdict(list)
        for method, operation in methods.items():
            if "security" in operation:
                by_permission[operation["security"][0]["key"][0]].append(method.upper())
        for permission, names in by_permission.items():
            found[Permission(permission)].append(f"{' '.join(names)} `{path.removeprefix(ROOT)}`")
    yield from found.items()
