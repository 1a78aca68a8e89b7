"""`voltbus quirks`: the rules about models that do not follow OCPP, and what a changed one would change.

`test` asks ClickHouse itself for stored frames. What takes long to load is imported when it is needed.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from libs.runtime.clock import micros
from libs.runtime.settings import read_settings
from services.cli.client import CliError, Json, as_json
from services.cli.moments import iso, moment_given
from services.cli.output import AsJson, console, moment, printable, sheet, table

if TYPE_CHECKING:
    from libs.clickhouse.client import ClickHouseClient
    from libs.events.ocpp_log import OcppCallReceived
    from libs.ocpp.quirks.book import RuleBook
    from libs.ocpp.quirks.rules import QuirkRule
    from libs.ocpp.quirks.trial import Changed, Trial

app = typer.Typer(help="Rules about models that do not follow OCPP.", no_args_is_help=True)

_SHOWN: Final = 60
_STORED: Final = " UNION ALL ".join(
    """
    SELECT event_id, station_id, occurred_at, recorded_at, ifNull(version, '') AS version,
        ifNull(message_id, '') AS message_id, ifNull(action, '') AS action, ifNull(payload, '{}') AS payload,
        answer, quirks, ifNull(vendor, '') AS vendor, ifNull(model, '') AS model, ifNull(firmware, '') AS firmware
    FROM $table FINAL
    WHERE _type = 'OcppCallReceived' AND error_code IS NULL AND action IN %(actions)s
        AND recorded_at >= fromUnixTimestamp64Micro(%(since)s)
        AND recorded_at < fromUnixTimestamp64Micro(%(until)s)
        AND (%(station)s = '' OR station_id = %(station)s)
    """.replace("$table", table)
    for table in ("ocpp_transactions", "ocpp_lifecycle")
)
_EQUIPMENT: Final = """
    SELECT version, vendor, model, firmware, count() AS frames FROM ($stored)
    GROUP BY version, vendor, model, firmware ORDER BY frames DESC
""".replace("$stored", _STORED)
_FRAMES: Final = """
    SELECT * FROM ($stored) WHERE (version, vendor, model, firmware) IN %(equipment)s
    ORDER BY recorded_at DESC, event_id LIMIT %(limit)s
""".replace("$stored", _STORED)
_ZONES: Final = """
    SELECT station_id, argMax(ifNull(timezone, ''), _offset) AS timezone FROM registry_stations
    WHERE station_id IN %(stations)s GROUP BY station_id
"""


@app.command("list")
def list_rules(
    effects_only: Annotated[
        bool, typer.Option("--effects", help="Only rules that change what is read.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the rules in force."""
    rules = [rule for rule in _in_force().rules if rule.effects or not effects_only]
    if json:
        typer.echo(as_json([_as_builtins(rule) for rule in rules]))
        return
    columns = [
        ("rule", lambda rule: rule["name"]),
        ("concerns", lambda rule: rule["concerns"]),
        ("flags", lambda rule: rule["flags"]),
        ("about", lambda rule: rule["about"]),
    ]
    table(map(_line, rules), columns, "no rules")


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The rule's name.")], json: AsJson = False) -> None:
    """Show a rule with its examples."""
    from libs.ocpp.quirks import MEANINGS  # noqa: PLC0415

    rule = next((rule for rule in _in_force().rules if rule.name == name), None)
    if rule is None:
        raise typer.BadParameter(f"no rule {name!r}; `voltbus quirks list` names all", param_hint="name")
    found = _as_builtins(rule)
    if json:
        typer.echo(as_json(found))
        return
    pairs: list[tuple[str, Any]] = [
        ("rule", rule.name),
        ("about", " ".join(rule.about.split())),
        ("concerns", _concerns(rule)),
        *(("effect", _words(effect)) for effect in found["effects"]),
        *(("flag", f"{flag}: {MEANINGS[flag]}") for flag in rule.all_flags),
        *(("covers", row) for row in rule.covers),
        *(("source", source) for source in rule.sources),
        *(("test", test) for test in rule.tests),
    ]
    for number, example in enumerate(rule.examples, 1):
        pairs.append((f"example {number}", example.frame))
        pairs += [("refused", example.refused), ("gives", "; ".join(map(_words, example.events)))]
    sheet(pairs)


Since = Annotated[
    str | None,
    typer.Option(help="Frames from this moment on, such as 2026-05-01T00:00:00Z; a week ago without it."),
]
Until = Annotated[str | None, typer.Option(help="Frames before this moment.")]


@app.command("test")
def try_file(
    file: Annotated[Path, typer.Argument(help="A rule file, in force already or not.")],
    *,
    since: Since = None,
    until: Until = None,
    station: Annotated[str, typer.Option(help="Only this station's frames.")] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many frames to read at most, newest first.")
    ] = 10_000,
    examples: Annotated[int, typer.Option(min=0, help="How many of the frames that differ to show.")] = 3,
    json: AsJson = False,
) -> None:
    """Read stored frames with the rules in force and with FILE's, and show what would be read otherwise.

    The rules of FILE replace those of the same name. First FILE's own examples are tried. Status 1 if one does
    not hold. Nothing is changed anywhere.
    """
    from libs.ocpp.quirks.examples import problems  # noqa: PLC0415
    from libs.ocpp.quirks.rules import RuleError, load_file  # noqa: PLC0415
    from libs.ocpp.quirks.trial import Trial  # noqa: PLC0415

    try:
        rules = load_file(file)
    except RuleError as error:
        raise CliError(str(error)) from error
    book = _in_force().overlaid(rules)
    failed = [text for rule in rules for text in problems(rule, book)]
    trial = Trial(_in_force(), book, examples)
    now = datetime.now(UTC)
    spread = (
        micros(now - timedelta(days=7) if since is None else moment_given(since, "--since")),
        micros(now if until is None else moment_given(until, "--until")),
    )
    names = {rule.name for rule in rules}
    concerned = [*rules, *(rule for rule in _in_force().rules if rule.name in names)]
    equipment = _try_stored(trial, concerned, spread, station.casefold(), limit)
    if json:
        typer.echo(as_json(_result(trial, rules, failed, equipment)))
    else:
        _print_result(trial, rules, failed, equipment, limit)
    if failed:
        raise typer.Exit(1)


def _try_stored(
    trial: "Trial", rules: Iterable["QuirkRule"], spread: tuple[int, int], station: str, limit: int
) -> list[Json]:
    """Let the trial read stored frames of equipment that any of `rules` matches; returns that equipment."""
    from libs.clickhouse.client import ClickHouseClient, ClickHouseError  # noqa: PLC0415
    from libs.clickhouse.settings import ClickHouseSettings  # noqa: PLC0415

    acting = [rule.match for rule in rules if rule.effects and rule.match is not None]
    actions = {action for rule in rules for effect in rule.effects for action in effect.actions}
    if not acting:
        return []
    settings = read_settings(ClickHouseSettings)
    client = ClickHouseClient(settings)
    params: dict[str, Any] = {
        "actions": tuple(sorted(actions)),
        "since": spread[0],
        "until": spread[1],
        "station": station,
        "limit": limit,
    }
    try:
        equipment = [
            each
            for each in client.rows(_EQUIPMENT, params)
            if any(m.covers(each["version"], each["vendor"], each["model"], each["firmware"]) for m in acting)
        ]
        if equipment:
            kinds = tuple((e["version"], e["vendor"], e["model"], e["firmware"]) for e in equipment)
            _read_frames(trial, client, params | {"equipment": kinds})
    except ClickHouseError as error:
        where = f"{settings.clickhouse_host}:{settings.clickhouse_port}/{settings.clickhouse_database}"
        raise CliError(f"{error} (ClickHouse at {where}; VOLTBUS_CLICKHOUSE_HOST and others)") from error
    finally:
        client.close()
    return equipment


def _read_frames(trial: "Trial", client: "ClickHouseClient", params: dict[str, Any]) -> None:
    from libs.ocpp.semantics.received_calls import zone_named  # noqa: PLC0415

    rows = client.rows(_FRAMES, params)
    stations = tuple({row["station_id"] for row in rows})
    zones = {}
    if stations:
        zones = {row["station_id"]: row["timezone"] for row in client.rows(_ZONES, {"stations": stations})}
    for row in rows:
        trial.add(_record(row), zone_named(zones.get(row["station_id"]) or None))


def _record(row: Json) -> "OcppCallReceived":
    from libs.events.ocpp_log import OcppCallReceived  # noqa: PLC0415

    times = {name: micros(row[name]) for name in ("occurred_at", "recorded_at")}
    given = {**row, **times, "quirks": tuple(row["quirks"])}
    return OcppCallReceived(cause_id=row["event_id"], connection_epoch=0, edge_id="", **given)


def _in_force() -> "RuleBook":
    from libs.ocpp.quirks.book import in_force  # noqa: PLC0415

    return in_force()


def _as_builtins(rule: "QuirkRule") -> Json:
    import msgspec  # noqa: PLC0415

    found: Json = msgspec.to_builtins(rule)
    return found | {"flags": list(rule.all_flags)}


def _line(rule: "QuirkRule") -> Json:
    return {
        "name": rule.name,
        "concerns": _concerns(rule),
        "flags": ", ".join(rule.all_flags),
        "about": " ".join(rule.about.split()),
    }


def _concerns(rule: "QuirkRule") -> str:
    match = rule.match
    if match is None or not rule.effects:
        return "every charger"
    parts = (match.vendor, match.model if match.model != "*" else "", match.firmware, match.version or "")
    return " ".join(filter(None, parts))


def _words(fields: Json) -> str:
    """A structure in one line."""
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", [], ()))


def _result(trial: "Trial", rules: Iterable["QuirkRule"], failed: list[str], equipment: list[Json]) -> Json:
    return {
        "rules": [rule.name for rule in rules],
        "failed_examples": failed,
        "equipment": equipment,
        "frames": trial.messages,
        "changed": trial.changed,
        "unreadable_before": trial.unreadable_before,
        "unreadable_after": trial.unreadable_after,
        "fields": list(_fields(trial)),
        "examples": [_example(each) for each in trial.examples],
    }


def _fields(trial: "Trial") -> Iterator[Json]:
    for name, summary in sorted(trial.fields.items(), key=lambda item: (-item[1].messages, item[0])):
        yield {
            "field": name,
            "frames": summary.messages,
            "before": summary.first.before,
            "after": summary.first.after,
        }


def _example(changed: "Changed") -> Json:
    record = changed.record
    return {
        "event_id": record.event_id,
        "station_id": record.station_id,
        "recorded_at": iso(record.recorded_at),
        "version": record.version,
        "action": record.action,
        "payload": record.payload,
        "changes": [{"field": c.field, "before": c.before, "after": c.after} for c in changed.changes],
    }


def _print_result(
    trial: "Trial", rules: Iterable["QuirkRule"], failed: list[str], equipment: list[Json], limit: int
) -> None:
    out = console()
    for text in failed:
        out.print(printable(f"example does not hold: {text}"), style="red", markup=False)
    if not any(rule.effects for rule in rules):
        out.print("no rule of this file has effects: nothing would be read otherwise", style="dim")
        return
    columns = [
        ("vendor", lambda e: e["vendor"]),
        ("model", lambda e: e["model"]),
        ("firmware", lambda e: e["firmware"]),
        ("version", lambda e: e["version"]),
        ("frames", lambda e: e["frames"]),
    ]
    table(equipment, columns, "no stored frames of equipment that these rules match")
    if not equipment:
        return
    only = ", the newest" if trial.messages == limit else ""
    out.print(f"{trial.messages} frames read{only}, {trial.changed} would be read otherwise")
    if trial.unreadable_before or trial.unreadable_after:
        out.print(f"unreadable: {trial.unreadable_before} before, {trial.unreadable_after} after")
    changes = [
        ("field", lambda f: f["field"]),
        ("frames", lambda f: f["frames"]),
        ("before", lambda f: _short(f["before"])),
        ("after", lambda f: _short(f["after"])),
    ]
    if trial.fields:
        table(_fields(trial), changes, "")
    for each in map(_example, trial.examples):
        head = f"{moment(each['recorded_at'])} {each['station_id']} {each['action']}"
        out.print(printable(head), style="bold", markup=False)
        out.print(printable(each["payload"]), markup=False)
        for change in each["changes"]:
            text = f"  {change['field']}: {_short(change['before'])} -> {_short(change['after'])}"
            out.print(printable(text), markup=False)


def _short(value: Any) -> str:
    text = "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
