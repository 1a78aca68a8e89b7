"""The local stack does what its users rely on: real servers that survive kill -9."""

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from clickhouse_driver import Client
from clickhouse_driver.errors import NetworkError, ServerException, SocketTimeoutError

from libs.bus.admin import topics_known
from libs.devstack import Endpoints, Ports, ProcessStack, Stack, StackError, launch, packages
from libs.devstack.clickhouse import ClickHouse
from libs.devstack.endpoints import free_ports
from libs.devstack.locking import read_lock
from tests.patience import WAIT_S

StackFactory = Callable[..., Stack]


async def create_topic(bootstrap: str, name: str, partitions: int = 1, replicas: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        response = await admin.create_topics([NewTopic(name, partitions, replicas)])
        assert [error[1] for error in response.topic_errors] == [0], response
        await topics_known(admin, {name: partitions})
    finally:
        await admin.close()


async def read_all(bootstrap: str, topic: str) -> list[bytes]:
    """Every committed value of partition 0."""
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        async with asyncio.timeout(WAIT_S):
            while await consumer.position(partition) < end:
                batch = await consumer.getmany(timeout_ms=200)
                values += [record.value for records in batch.values() for record in records]
        return values
    finally:
        await consumer.stop()


def avro(*fields: Mapping[str, object]) -> dict[str, str]:
    return {"schema": json.dumps({"type": "record", "name": "Reading", "fields": list(fields)})}


ENERGY = {"name": "energy_wh", "type": "long"}
WITH_DEFAULT = {"name": "phase", "type": "int", "default": 0}
WITHOUT_DEFAULT = {"name": "phase", "type": "int"}


def register(registry: str, subject: str, schema: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{registry}/subjects/{subject}/versions", json=schema, timeout=WAIT_S)


def execute(
    stack: Endpoints, query: str, rows: list[tuple[object, ...]] | None = None
) -> list[tuple[object, ...]]:
    client = Client(stack.clickhouse_host, port=stack.clickhouse_port)
    try:
        return client.execute(query, rows) if rows else client.execute(query)  # type: ignore[no-any-return]
    finally:
        client.disconnect()


async def test_committed_transactions_are_read_and_aborted_ones_are_not(
    stack: Endpoints, namespace: str
) -> None:
    topic = f"{namespace}.readings"
    await create_topic(stack.bootstrap, topic)
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, transactional_id=f"{namespace}-tx")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"dropped", partition=0)
        await producer.abort_transaction()
    finally:
        await producer.stop()
    assert await read_all(stack.bootstrap, topic) == [b"kept"]


def test_registry_rejects_an_incompatible_schema(stack: Endpoints, namespace: str) -> None:
    registry, subject = stack.registry_url, f"{namespace}.readings-value"
    first = register(registry, subject, avro(ENERGY))
    assert first.is_success, first.text
    level = {"compatibility": "BACKWARD_TRANSITIVE"}
    assert httpx.put(f"{registry}/config/{subject}", json=level, timeout=WAIT_S).is_success

    assert register(registry, subject, avro(ENERGY, WITHOUT_DEFAULT)).status_code == 409
    second = register(registry, subject, avro(ENERGY, WITH_DEFAULT))

    assert second.is_success, second.text
    assert httpx.get(f"{registry}/subjects/{subject}/versions", timeout=WAIT_S).json() == [1, 2]
    by_id = httpx.get(f"{registry}/schemas/ids/{first.json()['id']}", timeout=WAIT_S).json()
    assert json.loads(by_id["schema"]) == json.loads(avro(ENERGY)["schema"])


def test_clickhouse_stores_rows_and_drops_a_repeated_insert(stack: Endpoints, namespace: str) -> None:
    execute(stack, f"CREATE DATABASE {namespace}")
    try:
        execute(
            stack,
            f"CREATE TABLE {namespace}.readings (station String, wh UInt32) ENGINE = MergeTree ORDER BY station "
            "SETTINGS non_replicated_deduplication_window = 100",
        )
        for _ in range(2):
            insert = f"INSERT INTO {namespace}.readings SETTINGS insert_deduplication_token = 'a' VALUES"
            execute(stack, insert, [("CP1", 10), ("CP2", 20)])
        assert execute(stack, f"SELECT sum(wh), count() FROM {namespace}.readings") == [(30, 2)]
    finally:
        execute(stack, f"DROP DATABASE {namespace}")


OUTSIDE = [
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "INSERT INTO FUNCTION file('/tmp/evil.csv', 'CSV', 'a UInt8') SELECT 1",
    "CREATE TABLE default.f (a String) ENGINE = File(TSV)",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "CREATE TABLE default.u (a String) ENGINE = URL('http://127.0.0.1:9/', TSV)",
    "SELECT * FROM s3('http://127.0.0.1:9/bucket/a', 'TSV', 'a String')",
    "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('/etc/passwd', 't')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "CREATE TABLE default.x (a String) ENGINE = Executable('id', TSV)",
    "CREATE DICTIONARY default.h (id UInt64, a String) PRIMARY KEY id"
    " SOURCE(HTTP(url 'http://127.0.0.1:9/' format 'TSV')) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE USER stranger",
    "GRANT ALL ON *.* TO voltbus",
    "BACKUP TABLE default.t TO File('/tmp/evil')",
]
"""What no query may do: have files, URLs and programs as tables, make users."""


@pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded ClickHouse")
def test_clickhouse_with_a_password_serves_its_user_alone_and_nothing_but_its_tables(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    chdb = packages.ensure(print).chdb
    server = ClickHouse(chdb, tmp_path / "data", tmp_path / "logs", port, password="proof")
    server.start()

    def client(user: str = "voltbus", password: str = "proof", at: int = port) -> Client:
        return Client("127.0.0.1", port=at, user=user, password=password)

    try:
        for user, password in (("voltbus", "guess"), ("voltbus", ""), ("default", ""), ("default", "proof")):
            with pytest.raises(ServerException, match="Authentication failed"):
                client(user, password).execute("SELECT 1")
        ours = client()
        assert ours.execute("SELECT currentUser()") == [("voltbus",)]
        for query in (
            "CREATE TABLE default.t (a UInt8) ENGINE = MergeTree ORDER BY a",
            "CREATE MATERIALIZED VIEW default.m ENGINE = MergeTree ORDER BY a AS SELECT a FROM default.t",
            "INSERT INTO default.t VALUES (7)",
            "ALTER TABLE default.t ADD COLUMN b UInt8",
            "SELECT count() FROM system.parts",
        ):
            ours.execute(query)
        for query in OUTSIDE:
            with pytest.raises(ServerException):
                client().execute(query)
        if sys.platform != "linux":
            # Past the forwarder, as the user whom the library cannot do without.
            for query in ("DROP TABLE default.t", "SELECT * FROM file('/etc/passwd', 'LineAsString')"):
                with pytest.raises(ServerException, match="Not enough privileges"):
                    client("default", "", server._inner_port).execute(query)
        server.kill()
        server.start()
        assert client().execute("SELECT a FROM default.m") == [(7,)]
    finally:
        server.kill()
    assert not Path("/tmp/evil.csv").exists()


def listening_ports(pid: int) -> set[int]:
    """As every process of the machine sees them, whoever's they are."""
    links = (
        os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists() or link.is_symlink()
    )
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


@pytest.mark.skipif(sys.platform != "linux", reason="the library's port stays open elsewhere")
@pytest.mark.skipif(not packages.is_supported(), reason="needs the embedded ClickHouse")
def test_the_port_behind_the_one_that_asks_for_a_password_lets_nobody_in(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    chdb = packages.ensure(print).chdb
    server = ClickHouse(chdb, tmp_path / "data", tmp_path / "logs", port, password="proof")
    try:
        for _ in range(2):
            server.start()
            (inner,) = listening_ports(server.pid) - {port}
            for user, password in (("default", ""), ("voltbus", "proof")):
                with pytest.raises((NetworkError, SocketTimeoutError)):
                    Client("127.0.0.1", port=inner, user=user, password=password, connect_timeout=1).execute(
                        "SELECT 1"
                    )
            for source in ("127.0.0.1", "127.0.0.2"):
                with pytest.raises(TimeoutError):
                    socket.create_connection(("127.0.0.1", inner), timeout=1, source_address=(source, 0))
            # Whoever knows the password goes on, also several at once.
            with ThreadPoolExecutor(8) as pool:
                answers = pool.map(
                    lambda number: Client("127.0.0.1", port=port, user="voltbus", password="proof").execute(
                        f"SELECT {number}"
                    ),
                    range(40),
                )
            assert list(answers) == [[(number,)] for number in range(40)]
            server.kill()
    finally:
        server.kill()


def test_clickhouse_without_a_password_has_no_tables_that_are_files(stack: Endpoints) -> None:
    if packages.is_supported():
        with pytest.raises(ServerException, match="Not enough privileges"):
            execute(stack, "SELECT * FROM file('/etc/passwd', 'LineAsString')")


def test_clickhouse_survives_clients_that_vanish_while_they_connect(stack: Endpoints) -> None:
    """A client's first packet (Hello of the native protocol), then a closed or a reset connection."""
    words = b"".join(bytes([len(word)]) + word for word in (b"", b"default", b""))
    hello = b"\x00\x04test\x01\x01\xb4\xa6\x03" + words
    reset = struct.pack("ii", 1, 0)
    for packet in (hello, hello[:5], b"\x00", b"\x00\xff" * 50):
        for linger in (None, reset):
            with socket.create_connection((stack.clickhouse_host, stack.clickhouse_port)) as client:
                if linger:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.sendall(packet)
    with pytest.raises(ServerException, match="nowhere"):
        Client(stack.clickhouse_host, port=stack.clickhouse_port, database="nowhere").execute("SELECT 1")
    # A server that had aborted would still answer for some seconds, while it logs a trace.
    for _ in range(20):
        assert execute(stack, "SELECT 1") == [(1,)]
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.chaos
async def test_every_part_keeps_its_data_over_kill_9(private_stack: StackFactory) -> None:
    servers = await asyncio.to_thread(private_stack)
    at = servers.endpoints
    assert servers.registry is not None
    assert servers.clickhouse is not None
    await create_topic(at.bootstrap, "readings")
    producer = AIOKafkaProducer(bootstrap_servers=at.bootstrap, acks="all")
    await producer.start()
    await producer.send_and_wait("readings", b"1")
    await producer.stop()
    schema_id = register(at.registry_url, "readings-value", avro(ENERGY)).json()["id"]
    execute(at, "CREATE DATABASE d")
    execute(at, "CREATE TABLE d.t (wh UInt32) ENGINE = MergeTree ORDER BY wh")
    execute(at, "INSERT INTO d.t VALUES", [(7,)])

    for part in (servers.clickhouse, servers.registry, *servers.brokers):
        before = part.pid
        part.kill()
        assert not part.is_running()
        assert not part.is_ready()
        await asyncio.to_thread(part.start)
        assert part.pid != before

    assert await read_all(at.bootstrap, "readings") == [b"1"]
    assert register(at.registry_url, "readings-value", avro(ENERGY)).json()["id"] == schema_id
    assert execute(at, "SELECT wh FROM d.t") == [(7,)]
    assert register(at.registry_url, "other-value", avro(ENERGY)).is_success


@pytest.mark.slow
@pytest.mark.chaos
async def test_three_brokers_lose_nothing_acknowledged_when_one_is_killed(
    private_stack: StackFactory,
) -> None:
    servers = await asyncio.to_thread(private_stack, brokers=3, registry=False, clickhouse=False)
    bootstrap = servers.endpoints.bootstrap
    await create_topic(bootstrap, "readings", replicas=3)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    acknowledged: list[bytes] = []
    stopping = asyncio.Event()

    async def produce() -> None:
        while not stopping.is_set():
            value = str(len(acknowledged)).encode()
            await producer.send_and_wait("readings", value, partition=0)
            acknowledged.append(value)

    async def more_are_acknowledged() -> None:
        goal = len(acknowledged) + 200
        async with asyncio.timeout(WAIT_S):
            while len(acknowledged) < goal:  # noqa: ASYNC110 - the producer's progress is the fact
                await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    try:
        await more_are_acknowledged()
        leader = await leader_of(bootstrap, "readings")
        servers.brokers[leader - 1].kill()
        await more_are_acknowledged()
        await asyncio.to_thread(servers.brokers[leader - 1].start)
        await more_are_acknowledged()
    finally:
        stopping.set()
        await producing
        await producer.stop()
    assert await read_all(bootstrap, "readings") == acknowledged


async def leader_of(bootstrap: str, topic: str) -> int:
    """Node id of the broker that leads partition 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (description,) = await admin.describe_topics([topic])
        return int(description["partitions"][0]["leader"])
    finally:
        await admin.close()


@pytest.mark.parametrize("bond", ["kernel", "watchdog"])
def test_servers_die_with_the_process_that_started_them(tmp_path: Path, bond: str) -> None:
    """By the kernel's signal, which only Linux has, and by the watchdogs that every other system gets."""
    code = (
        "import os, signal, sys, pathlib\n"
        "from libs.devstack import ProcessStack, process\n"
        "if sys.argv[2] == 'watchdog': process.PARENT_DEATH_SIGNAL = False\n"
        "stack = ProcessStack(pathlib.Path(sys.argv[1]), registry=False)\n"
        "stack.start()\n"
        "print(*(part.pid for part in stack.parts), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), bond]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    pids = [int(word) for word in result.stdout.split()]
    assert len(pids) == 2, result.stderr
    deadline = time.monotonic() + WAIT_S
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize("first", ["parent", "server"])
def test_a_watchdog_kills_its_server_or_ends_with_it(first: str) -> None:
    life, held = os.pipe()
    sleep = shutil.which("sleep")
    assert sleep is not None
    command = [sys.executable, "-I", launch.__file__, f"pipe:{life}", "exec", sleep, "600"]
    with subprocess.Popen(command, pass_fds=(life,), stdout=subprocess.PIPE) as server:
        os.close(life)
        if first == "parent":
            os.close(held)
        else:
            server.terminate()
        # The watchdog has inherited the server's output: it ends when both have.
        assert server.communicate(timeout=WAIT_S)[0] == b""
    assert server.returncode == -(signal.SIGKILL if first == "parent" else signal.SIGTERM)
    if first == "server":
        os.close(held)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_part_that_dies_while_starting_is_reported_with_its_log(tmp_path: Path) -> None:
    ports = Ports.free()
    servers = ProcessStack(tmp_path, ports=ports, registry=False)
    taken = socket.create_server(("127.0.0.1", ports.clickhouse))
    with taken, pytest.raises(StackError, match="clickhouse ended with code"):
        servers.start()
    assert not any(part.is_running() for part in servers.parts)


def test_a_folder_serves_one_stack_at_a_time(tmp_path: Path) -> None:
    with ProcessStack(tmp_path, registry=False, clickhouse=False):
        with pytest.raises(StackError, match="another stack runs in"):
            ProcessStack(tmp_path, registry=False, clickhouse=False).start()
        assert Endpoints.load(tmp_path / "endpoints.json").registry_url == ""


def test_a_file_that_differs_from_the_lock_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small, *_) = sorted(read_lock(), key=lambda artefact: artefact.size)
    wrong = dataclasses.replace(small, sha256="0" * 64, platform=packages.platform_tag())
    monkeypatch.setenv("VOLTBUS_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "read_lock", lambda: [wrong])
    with pytest.raises(StackError, match=f"has checksum {small.sha256}, the lock says 0000"):
        packages.ensure(print)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_a_later_stack_on_other_ports_finds_the_folder_s_data(tmp_path: Path) -> None:
    first = ProcessStack(tmp_path, registry=False)
    at = await asyncio.to_thread(first.start)
    await create_topic(at.bootstrap, "readings")
    async with AIOKafkaProducer(bootstrap_servers=at.bootstrap, acks="all") as producer:
        await producer.send_and_wait("readings", b"1")
    execute(at, "CREATE DATABASE d")
    await asyncio.to_thread(first.stop)
    assert not (tmp_path / "endpoints.json").exists()

    second = ProcessStack(tmp_path, registry=False)
    at = await asyncio.to_thread(second.start)
    try:
        assert second.ports != first.ports
        assert await read_all(at.bootstrap, "readings") == [b"1"]
        assert ("d",) in execute(at, "SHOW DATABASES")
    finally:
        await asyncio.to_thread(second.stop)
