"""Organisations: to which stations, sites, tokens and tariffs belong."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from fastapi import Query, Response, status
from pydantic import Field

from libs.access.roles import Permission
from libs.events.access import AccessGrant
from libs.events.record import UNWRITTEN
from libs.events.registry import OrganisationDefined
from libs.events.topics import REGISTRY_ORGANISATIONS
from services.api.context import Api, Context
from services.api.domain.errors import Conflict
from services.api.domain.renewal import Stamp, renewed
from services.api.http.fields import Folded, Input, OrganisationId, Output, Text, Time
from services.api.http.paging import ListQuery, Page, matches, page_of
from services.api.http.permissions import needs, needs_everywhere
from services.api.http.routing import routes
from services.api.registry.entries import CONDITIONAL, Entries, IfMatch
from services.api.registry.table import Registry

router = routes("organisations")


class OrganisationSettings(Input):
    """What is configured of an organisation."""

    name: Text = ""


class NewOrganisation(OrganisationSettings):
    """An organisation to be created."""

    organisation_id: OrganisationId


class Organisation(Output):
    """An organisation as configured."""

    organisation_id: str
    name: str
    updated_at: Time = Field(validation_alias="recorded_at")
    changed_by: str


class OrganisationQuery(ListQuery):
    """Filters of organisations."""

    q: Folded | None = Field(None, description="Part of the id or name.")


class Organisations(Entries[OrganisationDefined, OrganisationSettings, Organisation]):
    """The organisations."""

    topic, path, kind, edits = (
        REGISTRY_ORGANISATIONS,
        "organisations",
        "organisation",
        Permission.EDIT_PLATFORM,
    )

    def table(self, registry: Registry) -> Mapping[str, OrganisationDefined]:
        """By id."""
        return registry.organisations

    def blank(self, key: str) -> OrganisationDefined:
        """Without a name."""
        return OrganisationDefined(**UNWRITTEN, organisation_id=key)

    def changed(
        self,
        registry: Registry,
        old: OrganisationDefined,
        body: OrganisationSettings,
        stamp: Stamp,
        *,
        partly: bool,
    ) -> OrganisationDefined:
        """Its name."""
        return renewed(old, body.model_dump(include={"name"}, exclude_unset=partly), stamp)

    def shown(self, registry: Registry, entry: OrganisationDefined, now: int) -> Organisation:
        """As it is."""
        return Organisation.model_validate(entry)

    def must_be_unused(self, registry: Registry, key: str) -> None:
        """Stations, sites, tokens and tariffs belong to it. Looks at all of them."""
        for kind, entries in (
            ("station", registry.whole.stations),
            ("site", registry.whole.sites),
            ("token", registry.whole.tokens),
            ("tariff", registry.whole.tariffs),
        ):
            for each, entry in entries.items():
                if entry.organisation_id == key:
                    raise Conflict(f"the {kind} {each} belongs to it")


_ORGANISATIONS = Organisations()


@router.get("/organisations", dependencies=needs(Permission.READ))
async def list_organisations(api: Api, query: Annotated[OrganisationQuery, Query()]) -> Page[Organisation]:
    """Organisations by id: those in which who asks may read."""

    def found(key: str) -> Organisation | None:
        entry = api.registry.organisations.get(key)
        if entry is None or not matches(query.q, entry.organisation_id, entry.name):
            return None
        return Organisation.model_validate(entry)

    keys = api.registry.keys[REGISTRY_ORGANISATIONS]
    items, cursor = await page_of([keys], found, query.limit, query.cursor)
    return Page(items=items, next_cursor=cursor)


@router.post(
    "/organisations",
    dependencies=needs_everywhere(Permission.EDIT_PLATFORM),
    status_code=status.HTTP_201_CREATED,
)
async def create_organisation(api: Api, response: Response, body: NewOrganisation) -> Organisation:
    """Create an organisation; 409 if there is one with this id."""
    return await _ORGANISATIONS.create(api, response, body.organisation_id, body)


@router.get("/organisations/{organisation_id}", dependencies=needs(Permission.READ))
async def get_organisation(api: Api, response: Response, organisation_id: str) -> Organisation:
    """One organisation."""
    return _ORGANISATIONS.get(api, response, organisation_id)


@router.put(
    "/organisations/{organisation_id}",
    dependencies=needs_everywhere(Permission.EDIT_PLATFORM),
    responses=CONDITIONAL,
)
async def put_organisation(
    api: Api,
    response: Response,
    organisation_id: OrganisationId,
    body: OrganisationSettings,
    if_match: IfMatch = None,
) -> Organisation:
    """Create an organisation, or replace what is configured of it."""
    return await _ORGANISATIONS.put(api, response, organisation_id, body, if_match)


@router.patch(
    "/organisations/{organisation_id}",
    dependencies=needs_everywhere(Permission.EDIT_PLATFORM),
    responses=CONDITIONAL,
)
async def change_organisation(
    api: Api,
    response: Response,
    organisation_id: str,
    body: OrganisationSettings,
    if_match: IfMatch = None,
) -> Organisation:
    """Change what the body names, nothing else."""
    return await _ORGANISATIONS.patch(api, response, organisation_id, body, if_match)


@router.delete(
    "/organisations/{organisation_id}",
    dependencies=needs_everywhere(Permission.EDIT_PLATFORM),
    status_code=status.HTTP_204_NO_CONTENT,
    responses=CONDITIONAL,
)
async def delete_organisation(api: Api, organisation_id: str, if_match: IfMatch = None) -> None:
    """Forget an organisation; 409 while something belongs to it, or somebody has a role in it."""
    _ORGANISATIONS.existing(api.registry, organisation_id)
    if _has_roles(api, organisation_id):
        raise Conflict("an account or key has a role in it")
    await _ORGANISATIONS.delete(api, organisation_id, if_match)


def _has_roles(api: Context, organisation_id: str) -> bool:
    grants: Iterable[tuple[AccessGrant, ...]] = (
        *(each.grants for each in api.access.accounts.values()),
        *(each.grants for each in api.access.access_keys.values() if not each.revoked),
    )
    return any(grant.organisation_id == organisation_id for found in grants for grant in found)
