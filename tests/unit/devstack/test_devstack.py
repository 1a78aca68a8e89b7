"""What of the local stack can be checked without starting it."""

import re
import struct
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from libs.devstack import Endpoints, Ports, ProcessStack, StackError, packages
from libs.devstack.kafka import ClusterNode, KafkaBroker, broker_ids, cluster_properties
from libs.devstack.locking import read_lock
from libs.devstack.process import wait_ready
from libs.devstack.progress import CancelledError, Download


class FakeServer:
    """Becomes ready after a number of polls, or dies at the first."""

    def __init__(self, name: str, polls: int = 1, dies: bool = False) -> None:
        self.name = name
        self.polls = polls
        self.dies = dies
        self.pid = 1

    def is_ready(self) -> bool:
        self.polls -= 1
        return self.polls <= 0

    def is_running(self) -> bool:
        return not self.dies

    def check_alive(self) -> None:
        if self.dies:
            raise StackError(f"{self.name} ended")

    def log_tail(self) -> str:
        return "the last line"

    def start(self, deadline_s: float = 60.0) -> None: ...
    def stop(self, grace_s: float = 10.0) -> None: ...
    def kill(self) -> None: ...
    def restart(self, deadline_s: float = 60.0) -> None: ...


def test_every_locked_artefact_has_an_exact_version_a_size_and_a_checksum() -> None:
    artefacts = read_lock()
    assert {artefact.part for artefact in artefacts} == {"kafka", "registry", "clickhouse"}
    assert len({artefact.name for artefact in artefacts}) == len(artefacts)
    for artefact in artefacts:
        assert re.fullmatch(r"[0-9a-f]{64}", artefact.sha256), artefact.name
        assert artefact.size > 0, artefact.name
        maven, wheel = r"[^:]+:[^:]+:\d[^:]*:[^:]*:[^:]+", r"[a-z_]+-\d+\.\d+\.\d+-[^-]+-[^-]+-[^-]+\.whl"
        pattern = {"maven": maven, "pypi": wheel}[artefact.source]
        assert re.fullmatch(pattern, artefact.name), artefact.name


def test_only_clickhouse_depends_on_the_platform() -> None:
    assert {artefact.part for artefact in read_lock() if artefact.platform} == {"clickhouse"}


@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64"])
def test_every_platform_gets_the_same_clickhouse(platform: str) -> None:
    system, machine = platform.split("-")
    (artefact,) = (item for item in read_lock() if item.part == "clickhouse" and item.platform == platform)
    package, version, python, abi, tags = artefact.name.removesuffix(".whl").split("-")
    assert (package, version, python, abi) == ("chdb_core", "26.7.3", "cp39", "abi3")
    assert tags.startswith({"linux": "manylinux", "darwin": "macosx"}[system])
    assert tags.endswith(machine)


def test_a_platform_without_clickhouse_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOLTBUS_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "platform_tag", lambda: "freebsd14-amd64")
    with pytest.raises(
        StackError, match=r"exists for darwin-arm64, .*, not for freebsd14-amd64: install Docker"
    ):
        packages.ensure(print)
    assert not list(tmp_path.iterdir())


def test_a_python_that_clickhouse_cannot_be_loaded_into_is_told_which_can(
    tmp_path: Path,
) -> None:
    for python in ("3.98", "3.99"):
        (tmp_path / f"libpybind11nonlimitedapi_chdb_{python}.dylib").touch()
    with pytest.raises(StackError, match=r"one of 3\.98, 3\.99"):
        packages.chdb_module(tmp_path)
    here = "libpybind11nonlimitedapi_chdb_{}.{}.so".format(*sys.version_info)
    (tmp_path / here).touch()
    assert packages.chdb_module(tmp_path) == tmp_path / "_chdb.abi3.so"


def test_broker_ids_are_read_from_a_metadata_response() -> None:
    def broker(node_id: int, host: bytes, rack: bytes | None) -> bytes:
        named = struct.pack(f">ih{len(host)}si", node_id, len(host), host, 9092)
        return named + (struct.pack(">h", -1) if rack is None else struct.pack(">h", len(rack)) + rack)

    response = struct.pack(">iii", 1, 0, 2) + broker(1, b"127.0.0.1", None) + broker(7, b"h", b"rack-b")
    assert broker_ids(response) == [1, 7]


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, 1, 1), (3, 3, 2)])
def test_replication_follows_the_size_of_the_cluster(brokers: int, replicas: int, in_sync: int) -> None:
    properties = cluster_properties(brokers)
    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert properties[f"{topic}.replication.factor"] == replicas
    assert properties["min.insync.replicas"] == in_sync
    assert properties["auto.create.topics.enable"] == "false"


@pytest.mark.parametrize("long_running", [False, True])
def test_only_a_stack_that_runs_for_long_has_its_code_compiled_fully(
    tmp_path: Path, long_running: bool
) -> None:
    broker = KafkaBroker(
        java=Path("/java"),
        jars=tmp_path,
        folder=tmp_path,
        logs=tmp_path,
        node=ClusterNode(1, 9092, 9093),
        cluster=[ClusterNode(1, 9092, 9093)],
        long_running=long_running,
    )
    assert ("-XX:TieredStopAtLevel=1" in broker.command()) is not long_running


def test_endpoints_of_left_out_parts_are_empty() -> None:
    ports = Ports(kafka=(1, 2, 3), registry=4, clickhouse=5)
    whole = Endpoints.on_loopback(ports, registry=True, clickhouse=True)
    assert whole.bootstrap == "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"
    assert whole.registry_url == "http://127.0.0.1:4/apis/ccompat/v7"
    assert (whole.clickhouse_host, whole.clickhouse_port) == ("127.0.0.1", 5)
    assert Endpoints.on_loopback(ports, registry=False, clickhouse=False) == Endpoints(
        whole.bootstrap, "", "", 0
    )


def test_a_cluster_has_one_or_three_brokers_with_a_port_each() -> None:
    with pytest.raises(ValueError, match="1 or 3"):
        ProcessStack(Path("unused"), brokers=2)
    with pytest.raises(ValueError, match="3 brokers need as many ports, not 1"):
        ProcessStack(Path("unused"), brokers=3, ports=Ports((1,), 2, 3))


def test_each_server_is_reported_when_it_becomes_ready() -> None:
    lines: list[str] = []
    wait_ready([FakeServer("slow", polls=2), FakeServer("fast")], 60, lines.append)
    assert [line.split()[0] for line in lines] == ["fast", "slow"]


def test_a_server_that_dies_ends_the_wait() -> None:
    with pytest.raises(StackError, match="b ended"):
        wait_ready([FakeServer("a", polls=1000), FakeServer("b", dies=True)], 60)


def test_a_deadline_names_the_servers_that_are_not_ready() -> None:
    with pytest.raises(StackError, match="not ready after 0 s: a\nthe last line"):
        wait_ready([FakeServer("a", polls=1000)], 0)


def test_a_download_counts_each_file_and_begins_anew_after_a_failure() -> None:
    download = Download(total=100)
    download.add_arrived("a", 30)
    download.add_arrived("b", 20)
    download.set_arrived("a", 0)
    assert download.arrived == 20
    download.set_arrived("a", 500)
    assert download.arrived == 100


def test_a_cancelled_download_stops_its_threads() -> None:
    download = Download(total=100)
    download.cancel()
    with pytest.raises(CancelledError):
        download.add_arrived("a", 1)


def test_watching_raises_the_error_of_a_failed_download() -> None:
    failed: Future[None] = Future()
    failed.set_exception(StackError("no such package"))
    with pytest.raises(StackError, match="no such package"):
        Download(total=1).watch([failed, Future()], lambda line: None)
