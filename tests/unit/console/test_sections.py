"""The menu of the console."""

import pytest

from libs.access.principal import Grant, Principal, principal
from libs.access.roles import PERMISSIONS, Role
from services.console.sections import GROUPS, Section, sections_for
from services.console.web.words import LANGUAGES, catalogue

ALL = [section for group in GROUPS for section in group.sections]


def test_every_section_has_an_address_of_its_own() -> None:
    assert len({each.path for each in ALL}) == len(ALL)
    assert all(each.path.startswith("/") for each in ALL)


@pytest.mark.parametrize("role", Role)
def test_a_person_sees_what_the_role_permits_and_no_empty_group(role: Role) -> None:
    menu = sections_for(principal("anna", [role]))
    shown = [section for _, sections in menu for section in sections]
    assert shown == [each for each in ALL if each.permission in PERMISSIONS[role]]
    assert all(sections for _, sections in menu)


def test_in_an_organisation_nobody_sees_what_is_of_the_whole_platform() -> None:
    menu = sections_for(Principal("anna", (Grant(Role.ENGINEER, "acme"),)))
    shown = [section for _, sections in menu for section in sections]
    assert shown == [
        each for each in ALL if each.permission in PERMISSIONS[Role.ENGINEER] and not each.everywhere
    ]
    assert any(each.everywhere for each in ALL)


def test_nobody_sees_nothing() -> None:
    assert sections_for(Principal("nobody", ())) == []


@pytest.mark.parametrize(
    ("section", "path", "holds"),
    [
        ("/", "/", True),
        ("/", "/stations", False),
        ("/stations", "/stations/A", True),
        ("/stations", "/stations-of-others", False),
        ("/stations", "/stations", True),
    ],
)
def test_a_page_belongs_to_the_section_whose_address_begins_its_own(
    section: str, path: str, holds: bool
) -> None:
    assert Section(section, "").holds(path) is holds


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
def test_titles_are_in_the_catalogue(language: str) -> None:
    titles = {group.title for group in GROUPS} | {each.title for each in ALL}
    assert titles <= set(catalogue(language))
