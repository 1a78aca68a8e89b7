"""Every record class by its name."""

from libs.events import (
    access,
    audit,
    bulk,
    commands,
    dead_letters,
    decisions,
    firmware,
    latest,
    load,
    ocpp_log,
    plans,
    registry,
    security,
    sessions,
    stations,
    telemetry,
)
from libs.events.record import Record

_MODULES = (
    ocpp_log,
    commands,
    bulk,
    registry,
    sessions,
    decisions,
    plans,
    stations,
    telemetry,
    load,
    firmware,
    latest,
    security,
    access,
    audit,
    dead_letters,
)

RECORDS: dict[str, type[Record]] = {
    name: value
    for module in _MODULES
    for name, value in vars(module).items()
    # A class with subclasses is what several records have in common.
    if isinstance(value, type) and issubclass(value, Record) and not value.__subclasses__()
}
