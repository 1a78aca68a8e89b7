"""docker-compose.yml and the image, as far as can be told without an engine."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.containers.probe import ports
from deploy.local.platform import PROCESSORS
from deploy.local.settings import LocalSettings
from libs.bus.settings import BusSettings
from libs.clickhouse.users import UserSettings
from libs.devstack import docker as stack_images
from libs.runtime.settings import ServiceSettings, Settings
from services.api.settings import ApiSettings
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

ROOT = Path(__file__).resolve().parents[3]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXAMPLE = (ROOT / "deploy" / "containers" / "env.example").read_text()

SERVERS = ("kafka", "registry", "clickhouse")
JOBS = ("contract", "tables", "certificate")
SERVICES = ("edge", *PROCESSORS, "api", "console")

# What each service reads. The simulator's prefix is its own.
READS: dict[str, tuple[type[Settings], ...]] = {
    "contract": (BusSettings,),
    "tables": (UserSettings,),
    "certificate": (CertificateSettings,),
    "edge": (EdgeSettings, BusSettings),
    "commands": (CommandsSettings,),
    "sessions": (SessionsSettings,),
    "plans": (PlansSettings,),
    "telemetry": (TelemetrySettings,),
    "load": (LoadSettings,),
    "provisioning": (ProvisioningSettings,),
    "firmware": (FirmwareSettings,),
    "projections": (ProjectionsSettings,),
    "sink": (SinkSettings,),
    "api": (ApiSettings,),
    "console": (ConsoleSettings,),
}
PORTS = {
    "kafka_port": ("kafka", 9092),
    "registry_port": ("registry", 8080),
    "clickhouse_port": ("clickhouse", 9000),
    "edge_port": ("edge", 9080),
    "api_port": ("api", 8080),
    "console_port": ("console", 8090),
}

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def service(name: str) -> dict[str, Any]:
    found = COMPOSE["services"][name]
    assert isinstance(found, dict)
    return found


def environment(name: str) -> dict[str, Any]:
    return dict(service(name).get("environment", {}))


def resolved(text: object, given: dict[str, str] | None = None) -> str:
    """Fill in `${NAME:-default}` as Compose does when only `given` is set."""
    known = given or {}

    def value(match: re.Match[str]) -> str:
        if found := known.get(match["name"]):
            return found
        assert match["kind"] == "-", f"{match['name']} has no default"
        return match["rest"]

    return _VARIABLE.sub(value, str(text))


def variables() -> set[str]:
    return {match["name"] for match in _VARIABLE.finditer(COMPOSE_TEXT)}


def fields(*classes: type[Settings]) -> set[str]:
    return {f"VOLTBUS_{field.upper()}" for each in classes for field in each.model_fields}


def depends(name: str) -> dict[str, str]:
    return {other: each["condition"] for other, each in service(name).get("depends_on", {}).items()}


def test_the_platforms_services_are_all_there() -> None:
    assert set(COMPOSE["services"]) == {*SERVERS, *JOBS, *SERVICES, "simulator"}
    for name in SERVICES:
        assert service(name)["command"] == [f"services.{name}"]
        assert (ROOT / "services" / name / "__main__.py").is_file()


@pytest.mark.parametrize("name", [*JOBS, *SERVICES])
def test_every_variable_is_a_setting_of_its_service(name: str) -> None:
    assert set(environment(name)) <= fields(*READS[name])


def test_the_simulators_variables_are_its_settings() -> None:
    known = {f"VOLTBUS_SIMULATOR_{field.upper()}" for field in SimulatorSettings.model_fields}
    assert set(environment("simulator")) <= known


@pytest.mark.parametrize("name", [*JOBS, *SERVICES])
def test_the_settings_accept_what_is_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "VOLTBUS_API_KEY": "a key of enough characters",
        "VOLTBUS_TRANSACTION_KEY": "a secret of enough characters",
        "VOLTBUS_SECRETS_KEY": "a secret of enough characters",
        "VOLTBUS_CLICKHOUSE_PASSWORD": "a secret of enough characters",
        "VOLTBUS_CLICKHOUSE_SINK_PASSWORD": "a secret of enough characters",
        "VOLTBUS_CLICKHOUSE_API_PASSWORD": "a secret of enough characters",
    }
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, resolved(value, secrets))
    for each in READS[name]:
        each.model_validate({})


def test_variables_of_the_image_are_settings() -> None:
    named = set(re.findall(r"\b(VOLTBUS_[A-Z_]+)=", DOCKERFILE))
    assert named
    assert named <= fields(ServiceSettings, EdgeSettings, ApiSettings, ConsoleSettings)


def test_services_find_the_servers_by_their_names() -> None:
    for name in ("contract", *SERVICES):
        assert environment(name)["VOLTBUS_KAFKA"] == "kafka:19092"
        assert environment(name)["VOLTBUS_REGISTRY_URL"] == "http://registry:8080/apis/ccompat/v7"
    users = {name: environment(name)["VOLTBUS_CLICKHOUSE_USER"] for name in ("tables", "sink", "api")}
    assert users == {"tables": "voltbus", "sink": "voltbus_sink", "api": "voltbus_api"}
    for name in users:
        assert environment(name)["VOLTBUS_CLICKHOUSE_HOST"] == "clickhouse"
    assert environment("clickhouse")["CLICKHOUSE_USER"] == users["tables"]
    assert "INSIDE://:19092" in environment("kafka")["KAFKA_LISTENERS"]
    assert "INSIDE://kafka:19092" in environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize("setting", PORTS)
def test_published_ports_have_the_local_platforms_names_and_defaults(setting: str) -> None:
    name, inner = PORTS[setting]
    default = LocalSettings.model_fields[setting].default
    published = [resolved(port) for port in service(name)["ports"]]
    assert f"127.0.0.1:{default}:{inner}" in published
    moved = [resolved(port, {f"VOLTBUS_{setting.upper()}": "12345"}) for port in service(name)["ports"]]
    assert f"127.0.0.1:12345:{inner}" in moved


def test_to_the_network_chargers_come_by_tls_alone() -> None:
    open_to_all = {"VOLTBUS_PUBLISH_HOST": "0.0.0.0"}
    ports = [resolved(port, open_to_all) for port in service("edge")["ports"]]
    assert ports == [
        f"0.0.0.0:{EdgeSettings.model_fields['edge_tls_port'].default}:9443",
        "127.0.0.1:9080:9080",
    ]
    edge, job = environment("edge"), environment("certificate")
    for setting in ("VOLTBUS_TLS_CERTIFICATE", "VOLTBUS_TLS_KEY"):
        assert edge[setting] == job[setting]
    assert [resolved(volume) for volume in service("edge")["volumes"]] == ["tls:/tls:ro"]
    assert [resolved(volume) for volume in service("certificate")["volumes"]] == ["tls:/tls"]
    assert re.search(r"^RUN install -d -o 10001 -g 10001 /tls$", DOCKERFILE, re.MULTILINE)


def test_edges_and_api_have_the_same_least_security_profile() -> None:
    default = str(EdgeSettings.model_fields["least_security_profile"].default)
    for name in ("edge", "api"):
        assert resolved(environment(name)["VOLTBUS_LEAST_SECURITY_PROFILE"]) == default


def test_kafka_tells_its_clients_the_published_port() -> None:
    told = environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]
    assert "OUTSIDE://localhost:9092" in resolved(told)
    assert "OUTSIDE://localhost:12345" in resolved(told, {"VOLTBUS_KAFKA_PORT": "12345"})


def test_what_has_no_authentication_is_open_to_this_machine_only() -> None:
    for name in SERVERS:
        for port in service(name)["ports"]:
            assert port.startswith("127.0.0.1:")


def test_defaults_are_those_of_the_services() -> None:
    edge = environment("edge")
    assert resolved(edge["VOLTBUS_UNKNOWN_STATIONS"]) == EdgeSettings.model_fields["unknown_stations"].default
    assert resolved(edge["VOLTBUS_UNKNOWN_TOKENS"]) == EdgeSettings.model_fields["unknown_tokens"].default
    processes = LocalSettings.model_fields["edge_processes"].default
    assert resolved(edge["VOLTBUS_EDGE_PROCESSES"]) == str(processes)


def test_secrets_are_required_and_only_where_they_are_used() -> None:
    required = {match["name"] for match in _VARIABLE.finditer(COMPOSE_TEXT) if match["kind"] == "?"}
    clickhouse = {f"VOLTBUS_CLICKHOUSE_{whose}PASSWORD" for whose in ("", "SINK_", "API_")}
    assert required == {"VOLTBUS_API_KEY", "VOLTBUS_TRANSACTION_KEY", "VOLTBUS_SECRETS_KEY", *clickhouse}
    assert required == set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE))
    sealing = [name for name in COMPOSE["services"] if "VOLTBUS_SECRETS_KEY" in environment(name)]
    assert sorted(sealing) == ["api", "console", "edge"]
    assert [name for name in COMPOSE["services"] if "VOLTBUS_API_KEY" in environment(name)] == ["api"]
    assert [name for name in COMPOSE["services"] if "VOLTBUS_TRANSACTION_KEY" in environment(name)] == [
        "edge"
    ]


def test_the_example_names_every_variable() -> None:
    assert variables() == set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    given = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    for match in _VARIABLE.finditer(COMPOSE_TEXT):
        if match["kind"] == "-":
            assert given[match["name"]] == match["rest"]


@pytest.mark.parametrize("name", [*SERVERS, *SERVICES])
def test_long_running_parts_restart_and_limit_their_logs(name: str) -> None:
    assert service(name)["restart"] == "unless-stopped"
    assert set(service(name)["logging"]["options"]) == {"max-size", "max-file"}


def test_order_of_starting() -> None:
    for name in SERVERS:
        assert service(name)["healthcheck"]["test"]
    assert depends("registry") == {"kafka": "service_healthy"}
    assert depends("contract") == {"kafka": "service_healthy", "registry": "service_healthy"}
    assert depends("certificate") == {"contract": "service_completed_successfully"}
    assert depends("edge")["certificate"] == "service_completed_successfully"
    assert depends("tables") == {"clickhouse": "service_healthy"}
    for name in SERVICES:
        assert depends(name)["contract"] == "service_completed_successfully"
    for name in ("sink", "api"):
        assert depends(name)["tables"] == "service_completed_successfully"
    for name in JOBS:
        assert service(name)["restart"] == "no"


def test_each_of_clickhouses_passwords_is_where_it_is_used() -> None:
    used = {
        password: {
            name for name in COMPOSE["services"] if f"${{{password}:" in str(service(name).get("environment"))
        }
        for password in re.findall(r"^#?(VOLTBUS_CLICKHOUSE_\w*PASSWORD)=", EXAMPLE, re.MULTILINE)
    }
    assert used == {
        "VOLTBUS_CLICKHOUSE_PASSWORD": {"clickhouse", "tables"},
        "VOLTBUS_CLICKHOUSE_SINK_PASSWORD": {"tables", "sink"},
        "VOLTBUS_CLICKHOUSE_API_PASSWORD": {"tables", "api", "console"},
        "VOLTBUS_CLICKHOUSE_ANALYST_PASSWORD": {"tables"},
    }


def test_opening_the_chargers_port_does_not_open_the_api() -> None:
    opened = {"VOLTBUS_PUBLISH_HOST": "0.0.0.0"}
    assert all(resolved(port, opened).startswith("127.0.0.1:") for port in service("api")["ports"])
    assert any(resolved(port, opened).startswith("0.0.0.0:") for port in service("edge")["ports"])
    opened = {"VOLTBUS_API_PUBLISH_HOST": "0.0.0.0"}
    assert all(resolved(port, opened).startswith("0.0.0.0:") for port in service("api")["ports"])
    for name in COMPOSE["services"].keys() - {"api"}:
        for port in service(name).get("ports", []):
            assert resolved(port, opened).startswith("127.0.0.1:")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_hardened_and_bounded(name: str) -> None:
    assert service(name)["cap_drop"] == ["ALL"]
    assert service(name)["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*g", service(name)["mem_limit"])
    assert 0 < service(name)["pids_limit"] <= 4096
    assert service(name)["networks"]


def test_nobody_reaches_a_server_that_he_does_not_use() -> None:
    def members(network: str) -> set[str]:
        return {name for name in COMPOSE["services"] if network in service(name)["networks"]}

    assert set(COMPOSE["networks"]) == {"bus", "tables", "chargers"}
    assert members("tables") == {"clickhouse", "tables", "sink", "api", "console"}
    assert members("chargers") == {"edge", "simulator", "certificate"}
    assert members("bus") == {"kafka", "registry", "contract", *SERVICES}


def test_services_have_no_rights_they_do_not_need() -> None:
    for name in (*JOBS, *SERVICES, "simulator"):
        assert service(name)["read_only"] is True
        assert service(name)["cap_drop"] == ["ALL"]
        assert service(name)["security_opt"] == ["no-new-privileges:true"]
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


def test_the_edge_may_drain() -> None:
    assert service("edge")["stop_grace_period"] == "90s"
    # The supervisor's own bound.
    assert EdgeSettings.model_fields["stop_timeout_s"].default + 15 < 90


def test_services_end_by_themselves_before_they_are_killed() -> None:
    for name in SERVICES:
        (grace_s,) = re.findall(r"^(\d+)s$", str(service(name)["stop_grace_period"]))
        assert ServiceSettings.model_fields["stop_timeout_s"].default < int(grace_s)


def test_image_tags_are_pinned() -> None:
    base = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert len(base) == 1
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    images = {str(service(name)["image"]) for name in COMPOSE["services"]}
    for image in (*images, *base):
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+[a-z0-9.-]*", image), image


def test_servers_are_those_of_the_tests() -> None:
    assert service("kafka")["image"] == stack_images.KAFKA_IMAGE
    assert service("registry")["image"] == stack_images.REGISTRY_IMAGE
    assert service("clickhouse")["image"] == stack_images.CLICKHOUSE_IMAGE


def test_the_image_is_this_version_built_once() -> None:
    images = {service(name)["image"] for name in (*JOBS, *SERVICES, "simulator")}
    assert images == {f"voltbus:{PROJECT['project']['version']}"}
    assert [name for name in COMPOSE["services"] if "build" in service(name)] == ["contract"]
    assert service("contract")["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"}


def test_the_image_is_installed_from_the_lock_without_development_groups() -> None:
    syncs = re.findall(r"^RUN uv sync (.*)$", DOCKERFILE, re.MULTILINE)
    assert len(syncs) == 2
    for options in syncs:
        assert {"--locked", "--no-default-groups"} <= set(options.split())


def test_the_service_is_chosen_by_the_command() -> None:
    assert 'ENTRYPOINT ["python", "-m"]' in DOCKERFILE
    assert 'CMD ["python", "/opt/voltbus/probe.py"]' in DOCKERFILE


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    copied = {
        path
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    for path in copied:
        assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("processes", "asked"), [(None, [9100]), ("1", [9100]), ("3", [9100, 9101, 9102, 9103])]
)
def test_the_probe_asks_every_process(processes: str | None, asked: list[int]) -> None:
    given = {"VOLTBUS_HTTP_PORT": "9100"} | ({"VOLTBUS_EDGE_PROCESSES": processes} if processes else {})
    assert list(ports(given)) == asked
