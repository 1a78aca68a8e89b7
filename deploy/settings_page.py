"""`docs/settings.md`, from the settings classes: every environment variable, its default, type and meaning."""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from deploy.local.settings import LocalSettings
from libs.bus.settings import BusSettings
from libs.clickhouse.settings import ClickHouseSettings
from libs.clickhouse.users import UserSettings
from libs.runtime.settings import SECRETS_DIR, ServiceSettings
from services.api.oidc.settings import OidcSettings
from services.api.settings import ApiSettings, OperatorSettings
from services.commands.settings import CommandsSettings
from services.console.settings import ConsoleSettings
from services.edge.certificate import CertificateSettings
from services.edge.settings import EdgeSettings
from services.firmware.settings import FirmwareSettings
from services.load.settings import LoadSettings
from services.plans.settings import PlansSettings
from services.projections.settings import ProjectionsSettings
from services.provisioning.settings import ProvisioningSettings
from services.sessions.settings import SessionsSettings
from services.simulator.settings import Settings as SimulatorSettings
from services.sink.settings import SinkSettings
from services.telemetry.settings import TelemetrySettings

PAGE: Final = "docs/settings.md"


class Section(NamedTuple):
    """One table of the page: the fields that `kind` adds to its bases or changes."""

    title: str
    kind: type[BaseSettings]
    readers: str


SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "api": ApiSettings,
    "commands": CommandsSettings,
    "console": ConsoleSettings,
    "edge": EdgeSettings,
    "firmware": FirmwareSettings,
    "load": LoadSettings,
    "plans": PlansSettings,
    "projections": ProjectionsSettings,
    "provisioning": ProvisioningSettings,
    "sessions": SessionsSettings,
    "sink": SinkSettings,
    "telemetry": TelemetrySettings,
}
_SHARED: Final = (
    Section("Every service", ServiceSettings, "every service"),
    Section(
        "Kafka and the schema registry",
        BusSettings,
        "every service, `voltbus contract`, `dlq`, `sessions rederive` and `recall`, `backtest`",
    ),
    Section(
        "ClickHouse",
        ClickHouseSettings,
        "`sink`, `api`, `console`, `python -m libs.clickhouse`, `voltbus quirks test`",
    ),
    Section("Sign-in at an OpenID provider", OidcSettings, "`api`, `console`"),
    Section("Who serves operators", OperatorSettings, "`api`, `console`"),
)
_TOOLS: Final = (
    Section("ClickHouse users", UserSettings, "`python -m libs.clickhouse`"),
    Section("Certificate of a trial", CertificateSettings, "`python -m services.edge.certificate`"),
    Section("Simulator", SimulatorSettings, "`python -m services.simulator`; its options come first"),
    Section(
        "Platform on one machine",
        LocalSettings,
        "`make up` and `make demo`; these defaults replace those of the services",
    ),
)


def sections() -> Iterator[Section]:
    """Every table of the page that has rows, in its order."""
    services = (Section(name, kind, f"`{name}`") for name, kind in SERVICES.items())
    for section in (*_SHARED, *services, *_TOOLS):
        if own_fields(section.kind):
            yield section


def own_fields(kind: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The fields of `kind` that none of its bases has with the same default, type, limits and meaning."""
    bases = [base for base in kind.__bases__ if issubclass(base, BaseSettings)]
    return {
        name: field
        for name, field in kind.model_fields.items()
        if not any(name in base.model_fields and _alike(base.model_fields[name], field) for base in bases)
    }


def _alike(one: FieldInfo, other: FieldInfo) -> bool:
    told = [
        (each.default, each.annotation, each.metadata, each.description, each.alias) for each in (one, other)
    ]
    return told[0] == told[1]


def settings_page() -> str:
    """The page as Markdown. Raises ValueError for a field without a description."""
    lines = [
        "# Settings",
        "",
        "Generated from the settings classes by `make docs`.",
        "",
        "Every setting is an environment variable, read once when a process starts. A process whose settings do not",
        "fit ends with status 2 and names the variable. A file may hold the value instead: it lies in the folder",
        f"`{SECRETS_DIR}` and has the variable's name, in any case. The environment comes first.",
        "",
        "Lists are comma-separated. Sizes are in bytes, or MiB where the name ends in `_MB`. Names that end in `_S` or",
        "`_MS` are seconds or milliseconds.",
        f"{_shared_only()} have the shared settings only.",
        "The `voltbus` command also reads `VOLTBUS_API_URL` (`http://127.0.0.1:8080`) and `VOLTBUS_API_KEY`.",
    ]
    for section in sections():
        lines += ["", f"## {section.title}", "", f"Read by: {section.readers}.", ""]
        lines += ["| variable | default | type | meaning |", "|---|---|---|---|"]
        prefix = section.kind.model_config.get("env_prefix", "")
        for name, field in own_fields(section.kind).items():
            if not field.description:
                raise ValueError(f"{section.kind.__name__}.{name} has no description")
            variable = f"{prefix}{name}".upper()
            lines.append(
                f"| `{variable}` | {_default(field)} | {_type(field)} | {_cell(field.description)} |"
            )
    return "\n".join(lines) + "\n"


def _shared_only() -> str:
    names = [f"`{name}`" for name, kind in SERVICES.items() if not own_fields(kind)]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"`{value}` ({value >> 20} MiB)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _type(field: FieldInfo) -> str:
    text = _of(field.annotation)
    least = next((f"at least {m.ge}" for m in field.metadata if getattr(m, "ge", None) is not None), "")
    above = next((f"above {m.gt}" for m in field.metadata if getattr(m, "gt", None) is not None), "")
    most = next((f"at most {m.le}" for m in field.metadata if getattr(m, "le", None) is not None), "")
    short = next(
        (f"at least {m.min_length} characters" for m in field.metadata if getattr(m, "min_length", None)), ""
    )
    long = next(
        (f"at most {m.max_length} characters" for m in field.metadata if getattr(m, "max_length", None)), ""
    )
    return ", ".join(part for part in (text, least, above, most, short, long) if part)


def _of(kind: Any) -> str:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _of(next(part for part in get_args(kind) if part is not type(None)))
    if origin is Literal:
        return " / ".join(f"`{choice}`" for choice in get_args(kind))
    if origin is Annotated:
        return _of(get_args(kind)[0])
    if origin in (tuple, dict, Mapping):
        return "list"
    if issubclass(kind, Enum):
        return " / ".join(f"`{choice.value}`" for choice in kind)
    names = {bool: "`true` / `false`", int: "integer", float: "number", str: "text", SecretStr: "secret"}
    return names[kind] if kind in names else "path" if issubclass(kind, Path) else "list"
