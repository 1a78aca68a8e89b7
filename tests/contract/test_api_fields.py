"""Every field of the API's models is a field of the record or view that it shows: by name, unit, type and symbols.

A unit is the end of a name (`_wh`, `_ma`, `_s`, `_milli`, `_minor`), so that equal names have equal units. What is
named otherwise, or is in no record, says here where it comes from.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

import pytest
from pydantic import BaseModel, create_model
from pydantic_settings import BaseSettings

import services.api
from libs.clickhouse.table_mapping import RENAMED
from libs.events.commands import Fate
from services.api.access import accounts, keys, signing_in
from services.api.billing import decisions, documents, reconciliation, sessions
from services.api.commands import bulk, bulk_bodies, routes
from services.api.domain.command_status import PENDING, CommandStatus
from services.api.equipment import certificates, local_list, logs, passwords, said, variables
from services.api.http import problems
from services.api.http.fields import Input, Output
from services.api.http.paging import ListQuery, Page
from services.api.identity import Identity
from services.api.live import campaigns, load, state, stream
from services.api.registry import (
    assignments,
    entries,
    organisations,
    security,
    sites,
    stations,
    tariffs,
    tokens,
)
from services.api.worklist import entries as worklist
from tests.contract.fields import FIELDS, VIEWS, Kind, kinds_of_model

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Shown(NamedTuple):
    """What a model shows. The first of `of` that has a field of its name decides the type.

    `of`: records, such as "CdrIssued", records inside them, such as "CdrIssued.lines", and views, such as
    "view sessions", which decide about names only. `renamed`: fields that are called otherwise there; "SessionStarted.
    version" where `of` has another field of that name. `own`: fields that are of another type or nowhere, and why.
    """

    of: tuple[str, ...]
    renamed: Mapping[str, str] = NOTHING
    own: Mapping[str, str] = NOTHING


_UPDATED: Final = {"updated_at": "recorded_at"}
_PERIOD: Final = {"since": "the first moment that is asked for", "until": "the first moment after that"}
_SEARCH: Final = {"q": "part of an id or name"}
_SITE_OF_PLACE: Final = {"site_id": "empty where there is none"}
_WITHIN: Final = {"timeout_s": "how long the request may take"}
_FATE: Final = {"status": "the fate, PENDING before it"}
_ASSIGNED: Final = "the one in force of the list"
_STATION: Final = {
    "site_id": _ASSIGNED,
    "site_valid_from": "`valid_from` of that",
    "max_power_w": "`power_w` of a new one of `power_ratings`",
    "allow_security_downgrade": "whether `security_profile` may fall",
}

_BULK: Final = {
    "stations": "those named",
    "filter": "a StationFilter, instead",
    "command": "a version-free command",
    "payload": "of that",
    "actions": "VersionAction by version, instead",
    "offline": "whether stations that are not connected are skipped",
    "ttl_s": "seconds",
    "call_timeout_s": "seconds",
}

SHOWN: Final[Mapping[type[BaseModel], Shown]] = {
    accounts.RoleGrant: Shown(("AccountDefined.grants", "KeyDefined.grants")),
    accounts.AccountSettings: Shown(("AccountDefined",)),
    accounts.NewAccount: Shown(("AccountDefined",), own={"password": "only its hash is stored"}),
    accounts.NewPassword: Shown((), own={"password": "only its hash is stored"}),
    accounts.Account: Shown(
        ("AccountDefined",),
        _UPDATED,
        {"has_password": "whether there is a `password_hash`", "sign_ins": "how many SignedIn count"},
    ),
    accounts.AccountQuery: Shown((), own=_SEARCH),
    entries.Owned: Shown(("SiteRegistered",)),
    organisations.OrganisationSettings: Shown(("OrganisationDefined",)),
    organisations.NewOrganisation: Shown(("OrganisationDefined",)),
    organisations.Organisation: Shown(("OrganisationDefined",), _UPDATED),
    organisations.OrganisationQuery: Shown((), own=_SEARCH),
    keys.NewKey: Shown(("KeyDefined",)),
    keys.Key: Shown(("KeyDefined",), own={"counts": "neither `revoked` nor past `expires_at`"}),
    keys.MadeKey: Shown(
        ("KeyDefined",),
        own={"counts": "neither `revoked` nor past `expires_at`", "key": "only its digest is stored"},
    ),
    keys.KeyQuery: Shown((), own=_SEARCH | {"counts": "see Key"}),
    signing_in.NewSignIn: Shown(
        ("SignedIn",),
        own={
            "password": "only its hash is stored",
            "id_token": "of the OpenID provider, stored nowhere",
            "access_token": "of the OpenID provider, stored nowhere",
        },
    ),
    signing_in.SignIn: Shown(("SignedIn",), own={"key": "only its digest is stored"}),
    decisions.NewDecision: Shown(("SessionDecided",)),
    decisions.ShownDecision: Shown(
        ("SessionDecided", "SessionDecisionConcluded"),
        {"decided_at": "recorded_at", "decision_id": "SessionDecisionConcluded.decision_id"},
        {
            "version": "null for a SessionRecalled",
            "status": "pending before a SessionDecisionConcluded, then its `applied`",
            "resulting_version": "`version` of a SessionDecisionConcluded, null before it",
        },
    ),
    documents.CdrDocument: Shown(
        ("CdrIssued",),
        {"issued_at": "recorded_at"},
        {
            "type": "name of the record",
            "partition": "where it is in the log",
            "offset": "where it is in the log",
            "document": "the record",
        },
    ),
    documents.CdrDocumentQuery: Shown(("CdrIssued",)),
    reconciliation.ReportQuery: Shown(
        ("CdrIssued",),
        own=_PERIOD
        | {
            "hours": "what counts as a long session",
            "minutes": "what counts as a clock that is off",
            "tolerance_wh": "what counts as a departure",
            "limit": "of each part",
        },
    ),
    reconciliation.InReview: Shown(("CdrIssued", "view sessions_in_review")),
    reconciliation.Stake: Shown(
        ("view sessions_in_review", "CdrIssued"),
        own={"sessions": "how many of the view's rows"},
    ),
    reconciliation.Gap: Shown(("SessionLatest", "view session_gaps")),
    reconciliation.Clock: Shown(("CdrIssued", "view clock_skew"), own=_SITE_OF_PLACE),
    reconciliation.Register: Shown(("CdrIssued", "view register_rises"), own=_SITE_OF_PLACE),
    reconciliation.Unbilled: Shown(("CdrIssued", "view unbilled_energy"), own=_SITE_OF_PLACE),
    sessions.PastQuery: Shown(("SessionEnded",), own=_PERIOD),
    sessions.SessionQuery: Shown(("SessionEnded",), own=_PERIOD | {"status": "see Session"}),
    sessions.CdrQuery: Shown(("CdrIssued",), own=_PERIOD),
    sessions.Session: Shown(
        ("SessionLatest", "SessionEnded"),
        _UPDATED | {"correction": "SessionCorrected.version", "ocpp_version": "SessionStarted.version"},
        {"status": "`running` of a SessionLatest, in a word"},
    ),
    sessions.Cdr: Shown(("CdrIssued",), {"issued_at": "recorded_at"}),
    sessions.CdrLine: Shown(("CdrIssued.lines",)),
    routes.CommandWish: Shown(
        ("RequestCommand",),
        own={
            "command": "instead of `action`: a version-free one",
            "payload": "as JSON, not as its text",
            "version": "of a charger that never connected, instead of its StationLocated's",
            "ttl_s": "until `expires_at`",
            "wait_s": "how long the request may take",
            "call_timeout_s": "`call_timeout_ms` in seconds",
        },
    ),
    routes.CallError: Shown(("CommandConcluded.error",)),
    routes.Command: Shown(
        ("CommandConcluded", "RequestCommand"),
        {"concluded_at": "recorded_at"},
        _FATE
        | {
            "payload": "as JSON, not as its text",
            "result": "as JSON, not as its text",
            "expires_at": "null where the request is not known",
            "concluded_at": "null before its fate",
        },
    ),
    certificates.CertificateRequestQuery: Shown(("view certificate_requests",), own={"limit": "of the list"}),
    certificates.CertificateRequest: Shown(
        ("view certificate_requests",),
        own={
            "subject": "read from the CSR",
            "certificate_name": "StationRegistered's, or the station's id",
            "flaw": "read from the CSR",
        },
    ),
    certificates.NewCertificate: Shown(
        (), own=_WITHIN | {"certificate_chain": "what the command will carry"}
    ),
    certificates.CertificateSent: Shown(("view certificate_requests",), own={"command": "a CommandSaid"}),
    local_list.LocalListWish: Shown((), own=_WITHIN | {"full": "not only what has changed"}),
    local_list.LocalListSynced: Shown(
        ("CommandConcluded",),
        own={
            "outcome": "of the exchange with the charger",
            "why": "about the outcome",
            "version_before": "of the charger's list",
            "version": "of the charger's list",
            "sent": "how many tokens",
            "left_out": "how many tokens",
            "commands": "CommandSaid",
        },
    ),
    logs.LogWish: Shown(
        (),
        own=_WITHIN
        | {"location": "of OCPP's GetLog", "log": "of GetLog", "oldest": "of GetLog", "latest": "of GetLog"},
    ),
    logs.LogAsked: Shown(
        ("CommandConcluded",),
        own={"request_id": "of GetLog", "filename": "of its answer", "command": "a CommandSaid"},
    ),
    logs.LogRequested: Shown(
        ("CommandConcluded",),
        own=_FATE
        | {
            "request_id": "of GetLog",
            "log": "of GetLog",
            "location": "of GetLog",
            "filename": "of its answer",
            "uploads": "the notifications",
        },
    ),
    logs.LogUpload: Shown((), own={"status": "of OCPP's notification", "at": "when that was recorded"}),
    passwords.NewPassword: Shown((), own={"password": "is not stored", "password_hex": "is not stored"}),
    passwords.Rotation: Shown(
        (),
        own={
            "password": "is not stored",
            "password_hex": "is not stored",
            "version": "see CommandWish",
            "ttl_s": "see CommandWish",
            "wait_s": "see CommandWish",
        },
    ),
    passwords.Settlement: Shown((), own={"keep": "which of two `passwords`"}),
    passwords.Password: Shown(
        ("CredentialsRegistered",),
        _UPDATED,
        {"accepted": "how many `passwords` there are", "password": "is not stored"},
    ),
    passwords.RotationState: Shown(
        ("CommandConcluded",), own=_FATE | {"accepted": "how many `passwords` there are"}
    ),
    said.CommandSaid: Shown(("CommandConcluded",), own=_FATE),
    variables.VariableWanted: Shown(
        ("CapabilitiesLearned.variables", "StationStateChanged.connectors"),
    ),
    variables.NewValue: Shown(("CapabilitiesLearned.variables", "StationStateChanged.connectors")),
    variables.VariablesWish: Shown((), own=_WITHIN | {"variables": "VariableWanted"}),
    variables.VariablesChange: Shown((), own=_WITHIN | {"variables": "NewValue"}),
    variables.VariableTold: Shown(
        ("CapabilitiesLearned.variables",),
        own={
            "evse_id": "null: of the whole station",
            "connector_id": "null: of the whole EVSE",
            "status": "OCPP's word",
            "value": "null if it was not told",
            "read_only": "of OCPP's answer",
        },
    ),
    variables.Variables: Shown(("StationLocated",), own={"items": "VariableTold", "commands": "CommandSaid"}),
    variables.DeviceVariable: Shown(("view device_model",)),
    variables.DeviceReport: Shown(("view device_reports",)),
    variables.DeviceModel: Shown(
        ("StationLocated",), own={"reports": "DeviceReport", "items": "DeviceVariable"}
    ),
    bulk_bodies.VersionAction: Shown(("RequestBulkCommand.messages",), own={"payload": "an object"}),
    bulk_bodies.BulkWish: Shown((), own=_BULK),
    bulk_bodies.NewBulkCommand: Shown(
        ("RequestBulkCommand",), own=_BULK | {"expected": "what the preview said"}
    ),
    bulk_bodies.Steering: Shown(("SteerBulkCommand",)),
    bulk_bodies.Retry: Shown(("SteerBulkCommand",), own={"offline": _BULK["offline"]}),
    bulk_bodies.SkipReason: Shown(
        (), own={"reason": "made of what is known of stations", "stations": "how many"}
    ),
    bulk_bodies.PreviewStation: Shown(
        ("StationLocated",), own={"name": "StationRegistered's", "skipped": "why; empty: it is asked"}
    ),
    bulk_bodies.BulkPreview: Shown(
        ("BulkCommandProgressed",),
        own={
            "asked": "how many",
            "offline": "how many",
            "reasons": "SkipReason",
            "stations": "PreviewStation",
        },
    ),
    bulk_bodies.BulkSent: Shown(("RequestBulkCommand.messages",), own={"payload": "the JSON text, read"}),
    bulk_bodies.BulkCommand: Shown(
        ("RequestBulkCommand", "BulkCommandProgressed"),
        _UPDATED | {"requested_at": "recorded_at"},
        {"stopped_because": "BulkCommandProgressed's `reason`"},
    ),
    bulk_bodies.BulkStation: Shown(
        ("BulkStationProgressed",), own={"updated_at": "`recorded_at`, null while nothing was heard"}
    ),
    bulk.BulkStationQuery: Shown(("BulkStationProgressed",)),
    state.StationFilter: Shown(
        ("StationStateChanged", "StationStateChanged.connectors"), own=_SEARCH | {"site_id": _ASSIGNED}
    ),
    campaigns.NewCampaign: Shown(("DefineCampaign",)),
    campaigns.Campaign: Shown(
        ("DefineCampaign", "CampaignProgressed"), _UPDATED | {"requested_at": "recorded_at"}
    ),
    campaigns.CampaignStation: Shown(
        ("StationUpdateProgressed",),
        own={"updated_at": "`recorded_at`, null while nothing was heard"},
    ),
    load.Allocation: Shown(("LoadPlanMade.allocations",)),
    load.LoadPlan: Shown(("LoadPlanMade",), {"made_at": "recorded_at"}),
    state.Connector: Shown(("StationStateChanged.connectors",)),
    state.StateQuery: Shown(
        ("StationStateChanged", "StationStateChanged.connectors"),
        own=_SEARCH | {"site_id": _ASSIGNED, "sort": "a field"},
    ),
    state.StationState: Shown(
        ("StationStateChanged", "StationRegistered"),
        own={
            "site_id": _ASSIGNED,
            "registered": "whether there is a StationRegistered",
            "edge_id": "StationLocated's, null before the first",
            "connection_changed_at": "StationLocated's `recorded_at`, null before the first",
            "updated_at": "`recorded_at`, null before the first",
        },
    ),
    stream.StreamQuery: Shown((), own={"type": "names of records and topics", "station_id": "several"}),
    assignments.Assignment: Shown(("StationRegistered.sites",)),
    assignments.NewAssignment: Shown(("StationRegistered.sites",)),
    security.ProfileCount: Shown(
        ("StationRegistered",), own={"stations": "how many need it", "connections": "how many proved it"}
    ),
    security.SecurityOverview: Shown(
        (), own={"least_security_profile": "a setting", "profiles": "ProfileCount"}
    ),
    security.StationSecurityQuery: Shown((), own=_SEARCH | {"at_most": "the highest `security_profile`"}),
    security.StationSecurity: Shown(
        ("StationRegistered", "StationLocated"),
        own={
            "registered": "whether there is a StationRegistered",
            "required": "StationRegistered's `security_profile`, or the platform's; null: not registered",
            "password": "whether there is a CredentialsRegistered",
            "proved": "StationLocated's `security_profile`; null: not connected",
            "remote_address": "null: not connected",
            "advice": "made of the others",
        },
    ),
    security.AlertQuery: Shown(("SecurityAlertRaised",), own=_PERIOD),
    security.SecurityAlert: Shown(("SecurityAlertRaised",), {"alert_id": "event_id"}),
    worklist.WorklistQuery: Shown((), own=_PERIOD | {"kind": "a cause's"}),
    worklist.WorklistExample: Shown(
        (),
        own={
            "station_id": "empty where it is of none",
            "detail": "in the words of the cause",
            "session_id": "empty where it is of none",
            "campaign_id": "empty where it is of none",
        },
    ),
    worklist.WorklistEntry: Shown(
        (),
        own={
            "entry_id": "made of kind and cause",
            "kind": "of the cause",
            "title": "of the cause",
            "count": "how many have the cause",
            "examples": "some of them",
        },
    ),
    worklist.Worklist: Shown((), own={"items": "entries", "complete": "whether ClickHouse answered"}),
    sites.SiteSettings: Shown(
        ("SiteRegistered",), own={"tariff_id": _ASSIGNED, "tariff_valid_from": "`valid_from` of that"}
    ),
    sites.NewSite: Shown(
        ("SiteRegistered",), own={"tariff_id": _ASSIGNED, "tariff_valid_from": "`valid_from` of that"}
    ),
    sites.Site: Shown(("SiteRegistered",), _UPDATED, {"tariff_id": _ASSIGNED}),
    sites.SiteQuery: Shown(("SiteRegistered",), own=_SEARCH | {"tariff_id": _ASSIGNED}),
    stations.StationSettings: Shown(("StationRegistered",), own=_STATION),
    stations.NewStation: Shown(("StationRegistered",), own=_STATION),
    stations.Station: Shown(
        ("StationRegistered",),
        _UPDATED,
        {"site_id": _ASSIGNED, "max_power_w": "`power_w` of the last of `power_ratings`"},
    ),
    stations.StationQuery: Shown(("StationRegistered",), own=_SEARCH | {"site_id": _ASSIGNED}),
    tariffs.TariffChange: Shown(("TariffRegistered", "TariffRegistered.versions")),
    tariffs.TariffSettings: Shown(("TariffRegistered", "TariffRegistered.versions")),
    tariffs.NewTariff: Shown(("TariffRegistered", "TariffRegistered.versions")),
    tariffs.TariffVersion: Shown(("TariffRegistered.versions",)),
    tariffs.Tariff: Shown(("TariffRegistered",), _UPDATED, {"version": "the one in force; null: none yet"}),
    tariffs.TariffQuery: Shown((), own=_SEARCH),
    tokens.TokenSettings: Shown(("TokenRegistered",)),
    tokens.NewToken: Shown(("TokenRegistered",)),
    tokens.Token: Shown(("TokenRegistered",), _UPDATED),
    tokens.TokenQuery: Shown(("TokenRegistered",), own=_SEARCH),
}

FRAMES: Final = {
    Input,
    Output,
    ListQuery,
    Page,
    reconciliation.Part,
    reconciliation.ReviewPart,
    reconciliation.Report,
    decisions.ShownDecisions,
    certificates.CertificateRequests,
    logs.LogsRequested,
    campaigns.CampaignStations,
    routes.CommandHeaders,
    problems.Problem,
    problems.Fault,
    Identity,
    signing_in.WaysIn,
    signing_in.DeviceClient,
}
"""Models of the API's own that hold no value of a record, but maybe models that do."""


def models() -> Iterator[type[BaseModel]]:
    """Every model of the API's bodies and queries, generic ones once."""
    for module in pkgutil.walk_packages(services.api.__path__, "services.api."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        for model in waiting.pop().__subclasses__():
            of_the_api = model.__module__.startswith("services.api.") and not issubclass(model, BaseSettings)
            if of_the_api and not model.__pydantic_generic_metadata__["origin"]:
                yield model
            waiting.append(model)


def test_every_model_says_what_it_shows() -> None:
    found = set(models())
    assert {model.__name__ for model in found - set(SHOWN) - FRAMES} == set()
    assert not set(SHOWN) & FRAMES


@pytest.mark.parametrize("model", SHOWN, ids=lambda model: model.__name__)
def test_a_field_is_as_in_what_it_shows(model: type[BaseModel]) -> None:
    assert list(differences(model, SHOWN[model])) == []


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"energy_kwh": (int, ...)}, "energy_kwh is nowhere"),
        ({"energy_wh": (str, ...)}, "energy_wh is text, not integer"),
        ({"energy_wh": (float, ...)}, "energy_wh is number, not integer"),
        ({"energy_wh": (int | None, None)}, "energy_wh may be null"),
        ({"meter_start_wh": (int, ...)}, "meter_start_wh may not be null"),
        ({"started_at": (int, ...)}, "started_at is integer, not moment"),
        ({"reason": (list[str], ...)}, "reason is [text], not text"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_the_check_would_see_it(changed: Any, difference: str) -> None:
    model = create_model("Changed", __base__=Output, **changed)
    assert list(differences(model, Shown(("SessionEnded",)))) == [difference]


def test_the_check_would_see_an_exception_that_is_none() -> None:
    model = create_model("Plain", __base__=Output, energy_wh=(int, ...))
    shown = Shown(("SessionEnded",), own={"energy_wh": "something else", "gone": "it was here"})
    assert list(differences(model, shown)) == ["gone is not there", "energy_wh is an exception without need"]


def test_the_check_would_see_a_symbol_that_is_missing_or_unknown() -> None:
    shown = Shown(("CommandConcluded",))
    beyond: Any = Literal["ACCEPTED", "POSTPONED"]
    other = create_model("Other", __base__=Output, fate=(beyond, ...))
    assert list(differences(other, shown)) == [
        "fate says ['POSTPONED'] beyond the enum, and ['EXPIRED', 'FAILED', 'REJECTED'] never"
    ]
    all_known: Any = Literal["ACCEPTED", "REJECTED", "FAILED", "EXPIRED"]
    but_spare = create_model("ButSpare", __base__=Output, fate=(all_known, ...))
    assert list(differences(but_spare, shown)) == []


def test_the_status_of_a_command_is_its_fate_or_that_it_has_none() -> None:
    assert get_args(CommandStatus) == (PENDING, *Fate)


def differences(model: type[BaseModel], shown: Shown) -> Iterator[str]:
    """What of the model's fields is neither as in a record nor an exception, and exceptions that are none."""
    kinds = kinds_of_model(model)
    if issubclass(model, ListQuery):
        kinds = {name: kind for name, kind in kinds.items() if name not in ListQuery.model_fields}
    for name in {*shown.own, *shown.renamed} - set(kinds):
        yield f"{name} is not there"
    for name, kind in kinds.items():
        wanted = said_of(name, shown)
        found = (
            f"{name} is nowhere"
            if wanted is None
            else difference(name, kind, wanted, issubclass(model, Input))
        )
        if name not in shown.own:
            yield from [found] if found else []
        elif found is None:
            yield f"{name} is an exception without need"


def said_of(name: str, shown: Shown) -> Kind | None:
    """What is said of the field where it comes from; None: nothing. A view says of a name only that it is there."""
    there = shown.renamed.get(name, name)
    record, _, field = there.rpartition(".")
    if record:
        if (record, field) in RENAMED:
            assert RENAMED[record, field] == name
        return FIELDS[record].get(field)
    for source in shown.of:
        if not source.startswith("view "):
            if there in FIELDS[source]:
                return FIELDS[source][there]
        elif re.search(rf"\b{there}\b", VIEWS[source.removeprefix("view ")]):
            return Kind("any")
    return None


def difference(name: str, kind: Kind, wanted: Kind, given: bool) -> str | None:
    """How a model's field differs from a record's. What is given in a request may be left out (null) instead."""
    if wanted.name == "any":
        return None
    if kind.name != wanted.name:
        return f"{name} is {kind.name}, not {wanted.name}"
    if kind.nullable != wanted.nullable and not given:
        return f"{name} {'may' if kind.nullable else 'may not'} be null"
    if kind.symbols and wanted.symbols:
        beyond, never = kind.symbols - wanted.symbols, wanted.symbols - kind.symbols - {wanted.spare}
        if beyond or never:
            return f"{name} says {sorted(beyond)} beyond the enum, and {sorted(map(str, never))} never"
    return None
