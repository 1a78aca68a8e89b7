"""What the CLI prints are fields of what it was told, each in the unit that its name ends in; what it sends are fields
that the API takes."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest
from pydantic import BaseModel

from libs.access.roles import Role
from libs.events.decisions import Decision
from services.api.access import accounts, keys, signing_in
from services.api.billing import decisions, reconciliation, sessions
from services.api.commands import bulk_bodies
from services.api.commands.routes import Command, CommandWish
from services.api.equipment import certificates, local_list, logs, passwords, variables
from services.api.identity import Identity
from services.api.live import campaigns, load, state, stream
from services.api.registry import organisations, security, sites, stations, tariffs, tokens
from services.api.worklist import entries as worklist
from services.cli import access as cli_access
from services.cli import certificates as cli_certificates
from services.cli import decisions as cli_decisions
from services.cli import equipment as cli_equipment
from services.cli import history as cli_history
from services.cli import passwords as cli_passwords
from services.cli import reconciliation as cli_reconciliation
from tests.contract.fields import FIELDS, Kind, kind_of_json

CLI: Final = Path(__file__).resolve().parents[2] / "services" / "cli"
Source = type[BaseModel] | str

READ: Final[Mapping[str, tuple[Source, ...]]] = {
    "access.list_accounts": (accounts.Account,),
    "access.add_account": (accounts.Account,),
    "access.disable": (accounts.Account,),
    "access.link": (signing_in.WaysIn, accounts.Account),
    "access.list_keys": (keys.Key,),
    "access.add_key": (keys.MadeKey,),
    "access.revoke_key": (keys.Key,),
    "access._roles": (accounts.Account, keys.Key),
    "bulk.preview": (bulk_bodies.BulkPreview, bulk_bodies.PreviewStation),
    "bulk.list_bulk": (bulk_bodies.BulkCommand,),
    "bulk.stations": (bulk_bodies.BulkStation,),
    "bulk._actions": (bulk_bodies.BulkCommand, bulk_bodies.BulkSent),
    "bulk._show": (bulk_bodies.BulkCommand, bulk_bodies.BulkSent),
    "certificates": (certificates.CertificateRequests, certificates.CertificateSent),
    "control.send": (Command,),
    "control._show": (Command,),
    "control.start": (campaigns.Campaign, stations.Station),
    "control.list_campaigns": (campaigns.Campaign,),
    "control.show_campaign": (campaigns.Campaign, campaigns.CampaignStations),
    "decisions": (decisions.ShownDecisions,),
    "decisions._newest": (sessions.Cdr,),
    "equipment.device_model": (variables.DeviceModel,),
    "equipment.sync_list": (local_list.LocalListSynced,),
    "equipment.ask_log": (logs.LogAsked,),
    "equipment.list_logs": (logs.LogsRequested,),
    "equipment._show_variables": (variables.Variables,),
    "history.list_sessions": (sessions.Session,),
    "history.show_session": (sessions.Session,),
    "history.list_cdrs": (sessions.Cdr,),
    "history.show_cdr": (sessions.Cdr,),
    "history._doubts": (sessions.Cdr,),
    "live.state": (state.StationState,),
    "live._online": (state.StationState, "StationStateChanged"),
    "live._connectors": (state.StationState, "StationStateChanged"),
    "live._SUMMARIES.CdrIssued": ("CdrIssued",),
    "live._SUMMARIES.CampaignProgressed": ("CampaignProgressed",),
    "live._SUMMARIES.DefineCampaign": ("DefineCampaign",),
    "live._SUMMARIES.SessionCorrected": ("SessionCorrected",),
    "live._SUMMARIES.SessionEnded": ("SessionEnded",),
    "live._SUMMARIES.SessionReopened": ("SessionReopened",),
    "live._SUMMARIES.SessionStarted": ("SessionStarted",),
    "live._SUMMARIES.SessionUpdated": ("SessionUpdated",),
    "live._fate": ("CommandConcluded",),
    "live._plan": ("LoadPlanMade",),
    "login": (signing_in.WaysIn, signing_in.SignIn),
    "passwords": (passwords.Password, passwords.RotationState),
    "reconciliation": (reconciliation.Report,),
    "reconciliation._COLUMNS.REVIEW": (reconciliation.ReviewPart,),
    "reconciliation._COLUMNS.GAPS": (reconciliation.Gap,),
    "reconciliation._COLUMNS.CLOCKS": (reconciliation.Clock,),
    "reconciliation._COLUMNS.REGISTERS": (reconciliation.Register,),
    "reconciliation._COLUMNS.UNBILLED": (reconciliation.Unbilled,),
    "rederive._name": (Identity,),
    "security.profiles": (security.SecurityOverview,),
    "security.stations": (security.StationSecurity,),
    "security.alerts": (security.SecurityAlert,),
    "sites": (sites.Site,),
    "sites.show_load": (load.LoadPlan,),
    "stations": (stations.Station,),
    "tariffs": (tariffs.Tariff,),
    "tokens": (tokens.Token,),
    "organisations": (organisations.Organisation,),
    "worklist.list_worklist": (worklist.Worklist, worklist.WorklistEntry),
    "cdrs._priced": (tariffs.Tariff, sites.Site),
    "bus.list_letters": ("RecordDeadLettered",),
    "quirks._record": ("OcppCallReceived",),
    "quirks._read_frames": ("StationRegistered",),
}
"""What each module, or part of one, is told, and reads by name."""

OTHERS: Final[Mapping[str, str]] = {
    "backtest": "a report of its own",
    "bus.list_letters.topic": "a place in the log",
    "bus.list_letters.offset": "a place in the log",
    "bus.list_letters.key": "`record_key`, as the other fields of a letter",
    "cdrs._document": "a CdrDocument, converted to a record as a whole",
    "client": "what all answers have: pages, problems, events",
    "control.show_campaign.progress": "the stations of the campaign, put to it for --json",
    "live._print": "any record",
    "quirks.list_rules": "a rule",
    "quirks.show": "a rule",
    "quirks._try_stored": "equipment",
    "quirks._print_result": "a trial",
    "reconciliation._COLUMNS.GAPS.sessions": "how many a total is over",
    "reconciliation._COLUMNS.CLOCKS.stations": "how many a total is over",
    "reconciliation._COLUMNS.REGISTERS.evses": "how many a total is over",
    "reconciliation._COLUMNS.UNBILLED.stations": "how many a total is over",
    "tariffs.set_tariff": "what is written",
}
"""What is read by name and is no field of a model or record, and what it is."""

TAKEN: Final[Mapping[str, tuple[type[BaseModel], ...]]] = {
    "access.add_account": (accounts.NewAccount,),
    "access.list_keys": (keys.KeyQuery,),
    "access.add_key": (keys.NewKey,),
    "bulk": (state.StationFilter, bulk_bodies.NewBulkCommand, bulk_bodies.Retry, bulk_bodies.VersionAction),
    "certificates.list_requests": (certificates.CertificateRequestQuery,),
    "certificates.send_certificate": (certificates.NewCertificate,),
    "control.send": (CommandWish,),
    "control.start": (campaigns.NewCampaign,),
    "decisions": (decisions.NewDecision,),
    "equipment.get_variables": (variables.VariablesWish, variables.VariableWanted),
    "equipment.set_variables": (variables.VariablesChange, variables.NewValue),
    "equipment.device_model": (variables.DeviceVariable,),
    "equipment.sync_list": (local_list.LocalListWish,),
    "equipment.ask_log": (logs.LogWish,),
    "history.list_sessions": (sessions.SessionQuery,),
    "history.list_cdrs": (sessions.CdrQuery,),
    "live.state": (state.StateQuery,),
    "live.watch": (stream.StreamQuery,),
    "login": (signing_in.NewSignIn,),
    "passwords": (passwords.Rotation,),
    "reconciliation": (reconciliation.ReportQuery,),
    "security.stations": (security.StationSecurityQuery,),
    "security.alerts": (security.AlertQuery,),
    "sites.save_site": (sites.SiteSettings,),
    "stations.list_stations": (stations.StationQuery,),
    "stations.save_station": (stations.StationSettings,),
    "tariffs": (tariffs.TariffChange,),
    "tokens.list_tokens": (tokens.TokenQuery,),
    "organisations.save_organisation": (organisations.OrganisationSettings,),
    "tokens.save_token": (tokens.TokenSettings,),
    "worklist.list_worklist": (worklist.WorklistQuery,),
}
"""What the API takes of each module, or part of one, that sends something."""

UNITS: Final = {
    "kwh": "_wh",
    "_energy": "_wh",
    "_meter": "_wh",
    "money": "_minor",
    "_stake": "_minor",
    "price": "_milli",
    "ampere": "_ma",
    "_long": "_s",
}
"""What puts a number into words, and how the names of the fields end that it takes."""

TITLES: Final = {"kwh": "kWh", "money": "amount", "_stake": "amount", "price": "price", "ampere": "A "}
"""How titles of columns begin; by that the table aligns them."""

WORDED_OTHERWISE: Final = {
    "live._plan.current_ma": "summed up first",
    "live._plan.drawn_ma": "only whether there is one",
    "stations.show_station.heartbeat_interval_s": "written with it",
}
"""Fields with a unit that are not put into words where they are read, and why."""

HELPERS: Final = {"_energy", "_plain", "_listed"}
"""What makes a column of a title and the name of a field, or of one text that is both."""


class Read(NamedTuple):
    """A field that is read by name. `through`: what puts it into words."""

    key: str
    through: str | None


def parts(source: str, module: str) -> Iterator[tuple[str, ast.AST]]:
    """The definitions of a module by name, and of a table in it each entry."""
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield f"{module}.{name}", node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if isinstance(node.value, ast.Dict):
                    for key, value in zip(node.value.keys, node.value.values, strict=True):
                        yield f"{module}.{name}.{_last_word(key)}", value
                else:
                    yield f"{module}.{name}", node


def _last_word(key: ast.expr | None) -> str:
    return (
        str(key.value)
        if isinstance(key, ast.Constant)
        else ""
        if key is None
        else ast.unparse(key).split(".")[-1]
    )


def reads(node: ast.AST, through: str | None = None) -> Iterator[Read]:
    """Every field that is read by name in `node`."""
    match node:
        case ast.Subscript(value=inner, slice=ast.Constant(value=str(key)), ctx=ast.Load()) if key.islower():
            yield Read(key, through)
            yield from reads(inner)
        case ast.Call(
            func=ast.Attribute(attr="get", value=inner), args=[ast.Constant(value=str(key)), *others]
        ) if key.islower() and not key.startswith("/"):
            yield Read(key, through)
            for each in (inner, *others):
                yield from reads(each)
        case ast.Call(func=ast.Name(id=name), args=[*_, ast.Constant(value=str(key))]) if name in HELPERS:
            yield Read(key, name)
        case ast.Call(func=ast.Name(id=name), args=[first, *others]) if name in UNITS or name == "moment":
            yield from reads(first, name)
            for each in others:
                yield from reads(each, name if name == "_meter" else through)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from reads(child, through)


def columns(node: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Titles of columns, and the functions that put their values into words."""
    for each in ast.walk(node):
        if isinstance(each, ast.Tuple) and len(each.elts) == 2:
            title, value = each.elts
            if isinstance(title, ast.Constant) and isinstance(value, ast.Lambda):
                yield (
                    str(title.value),
                    set(TITLES) & {c.id for c in ast.walk(value) if isinstance(c, ast.Name)},
                )


def sent(node: ast.AST) -> Iterator[str]:
    """Fields of bodies and queries that are sent: by keyword, or in a dict that is called one."""
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Name(id="given"), keywords=keywords):
                yield from (keyword.arg for keyword in keywords if keyword.arg is not None)
            case ast.Assign(targets=[ast.Name(id="query" | "body" | "settings")], value=ast.Dict() as value):
                yield from (str(key.value) for key in value.keys if isinstance(key, ast.Constant))
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id="settings"), slice=ast.Constant(value=key))]
            ):
                yield str(key)


@cache
def kinds(source: Source) -> Mapping[str, set[Kind]]:
    """By name, the fields of a model or record and of those inside it."""
    found: dict[str, set[Kind]] = {}
    if isinstance(source, str):
        for path, fields in FIELDS.items():
            if path == source or path.startswith(f"{source}."):
                for name, kind in fields.items():
                    found.setdefault(name, set()).add(kind)
    else:
        schema = source.model_json_schema(mode="serialization", by_alias=False)
        for each in (schema, *schema.get("$defs", {}).values()):
            for name, field in each.get("properties", {}).items():
                found.setdefault(name, set()).add(kind_of_json(field, schema.get("$defs", {})))
    return found


def told(part: str) -> tuple[Source, ...] | None:
    """What this part of a module is told; None if it is not said."""
    while part:
        if part in READ:
            return READ[part]
        part = part.rpartition(".")[0]
    return None


def other(part: str, key: str) -> str | None:
    """The exception that says what this is."""
    name = f"{part}.{key}"
    while name:
        if name in OTHERS:
            return name
        name = name.rpartition(".")[0]
    return None


def faults(part: str, node: ast.AST) -> Iterator[str]:
    """What is read in a part of a module and is no field of what it is told, or of another unit or type."""
    found = [read for read in reads(node) if other(part, read.key) is None]
    for title, called in columns(node):
        begins = {prefix for prefix in TITLES.values() if title.startswith(prefix)}
        if begins != {TITLES[name] for name in called}:
            yield f"{part}: {title!r} does not begin with its unit, or shows none"
    for read in found:
        known: set[Kind] = {kind for source in told(part) or () for kind in kinds(source).get(read.key, ())}
        if not known:
            yield f"{part}: {read.key} is no field of what it is told"
        elif read.through == "moment" and not any(kind.name == "moment" for kind in known):
            yield f"{part}: {read.key} is no moment"
        elif read.through in UNITS and not read.key.endswith(UNITS[read.through]):
            yield f"{part}: {read.key} is not in the unit that {read.through} takes"
        elif all(kind.name == "moment" for kind in known):
            if not any(each.key == read.key and each.through == "moment" for each in found):
                yield f"{part}: {read.key} is not shown as a moment"
        elif f"{part}.{read.key}" not in WORDED_OTHERWISE and not _is_in_words(read.key, found):
            yield f"{part}: {read.key} is not shown with its unit"


def _is_in_words(key: str, found: Iterable[Read]) -> bool:
    """Whether the field has no unit, or is shown with it somewhere."""
    unit = f"_{key.rpartition('_')[2]}"
    return unit not in UNITS.values() or any(
        each.key == key and UNITS.get(each.through or "") == unit for each in found
    )


PARTS: Final = {
    name: node for path in sorted(CLI.glob("*.py")) for name, node in parts(path.read_text(), path.stem)
}


@pytest.mark.parametrize("part", [name for name, node in PARTS.items() if list(reads(node))])
def test_what_is_shown_is_a_field_in_its_unit(part: str) -> None:
    assert list(faults(part, PARTS[part])) == []


def test_no_exception_is_without_need() -> None:
    used = {other(part, read.key) for part, node in PARTS.items() for read in reads(node)}
    assert set(OTHERS) - used == set()
    read_somewhere = {f"{part}.{read.key}" for part, node in PARTS.items() for read in reads(node)}
    assert set(WORDED_OTHERWISE) - read_somewhere == set()
    for named, of in ((READ, reads), (TAKEN, sent)):
        busy = [f"{part}." for part, node in PARTS.items() if any(of(node))]
        assert [name for name in named if not any(part.startswith(f"{name}.") for part in busy)] == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def list_sessions(s): return s['power_w']", "power_w is no field of what it is told"),
        ("def list_sessions(s): return s['energy_wh']", "energy_wh is not shown with its unit"),
        (
            "def list_sessions(s): return ampere(s['energy_wh'])",
            "energy_wh is not in the unit that ampere takes",
        ),
        ("def list_sessions(s): return moment(s['energy_wh'])", "energy_wh is no moment"),
        ("def list_sessions(s): return s.get('ended_at')", "ended_at is not shown as a moment"),
        (
            "def list_sessions(s): return [('energy', lambda s: kwh(s['energy_wh']))]",
            "'energy' does not begin with its unit, or shows none",
        ),
        (
            "def list_sessions(s): return [('kWh', lambda s: s['session_id'])]",
            "'kWh' does not begin with its unit, or shows none",
        ),
        ("def somewhere_else(s): return s['session_id']", "session_id is no field of what it is told"),
    ],
)
def test_the_check_would_see_it(source: str, fault: str) -> None:
    ((part, node),) = parts(source, "history")
    assert list(faults(part, node)) == [f"{part}: {fault}"]


@pytest.mark.parametrize("part", [name for name, node in PARTS.items() if list(sent(node))])
def test_what_is_sent_are_fields_that_the_api_takes(part: str) -> None:
    models = TAKEN.get(part) or TAKEN[part.partition(".")[0]]
    taken = {name for model in models for name in (*model.model_fields, *_aliases(model))}
    assert set(sent(PARTS[part])) - taken == set()


def _aliases(model: type[BaseModel]) -> Iterator[str]:
    return (str(field.alias) for field in model.model_fields.values() if field.alias is not None)


def test_what_may_be_asked_for_is_what_the_api_takes() -> None:
    assert list[Role] in get_args(get_args(cli_access.Roles)[0])
    assert {*cli_certificates.Status} == {*get_args(certificates.RequestStatus)}
    assert {*cli_history.Status} == {
        *get_args(get_args(sessions.SessionQuery.model_fields["status"].annotation)[0])
    }
    assert {*cli_equipment.Log} == {*get_args(logs.LogWish.model_fields["log"].annotation)}
    assert {*cli_passwords.Keep} == {*get_args(passwords.Settlement.model_fields["keep"].annotation)}
    assert {*cli_decisions.Verdict} == {*Decision} - {Decision.UNKNOWN}
    own = {"since", "until", "site_id"}
    assert {*cli_reconciliation.Part} == set(reconciliation.Report.model_fields) - own
