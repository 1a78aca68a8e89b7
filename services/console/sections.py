"""The menu: every section of the console, in its group. Who adds a page that people look for adds its line here."""

from typing import Final

import msgspec

from libs.access.principal import Principal
from libs.access.roles import Permission


class Section(msgspec.Struct, frozen=True):
    """A page of the menu, and what one needs to see it: in any organisation, or in all of them (`everywhere`).

    `title`: a message of the catalogue.
    """

    path: str
    title: str
    permission: Permission = Permission.READ
    everywhere: bool = False

    def holds(self, path: str) -> bool:
        """Whether the page at `path` belongs to it."""
        return path == self.path or (self.path != "/" and path.startswith(self.path + "/"))


class Group(msgspec.Struct, frozen=True):
    """Sections that stand together. `title`: a message of the catalogue."""

    title: str
    sections: tuple[Section, ...]


def _(message: str) -> str:
    """Marks a message for the catalogue; it is translated where it is shown."""
    return message


GROUPS: Final = (
    Group(
        _("Operate"),
        (
            Section("/", _("Worklist")),
            Section("/stations", _("Stations")),
            Section("/sites", _("Sites")),
            Section("/sessions", _("Sessions")),
        ),
    ),
    Group(
        _("Money"),
        (
            Section("/reconciliation", _("Reconciliation")),
            Section("/tokens", _("Tokens"), Permission.READ_TOKENS),
            Section("/tariffs", _("Tariffs")),
        ),
    ),
    Group(
        _("Maintain"),
        (
            Section("/bulk", _("Bulk commands")),
            Section("/campaigns", _("Campaigns")),
            Section("/dead-letters", _("Dead letters"), Permission.READ_FRAMES, everywhere=True),
        ),
    ),
    Group(
        _("Platform"),
        (
            Section("/accounts", _("Accounts"), Permission.EDIT_ACCESS),
            Section("/keys", _("Keys"), Permission.EDIT_ACCESS),
            Section("/sign-ins", _("My sign-ins")),
        ),
    ),
)


def sections_for(who: Principal) -> list[tuple[str, list[Section]]]:
    """The groups and sections that `who` sees; no group is empty."""

    def may(section: Section) -> bool:
        return (who.may if section.everywhere else who.may_somewhere)(section.permission)

    found = ((group.title, [each for each in group.sections if may(each)]) for group in GROUPS)
    return [(title, sections) for title, sections in found if sections]
