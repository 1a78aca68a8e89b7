"""ClickHouse inside a child process, from its embeddable library."""

import socket
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from xml.sax.saxutils import escape

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from libs.devstack.endpoints import HOST, free_ports
from libs.devstack.process import ServerProcess

USER = "voltbus"
"""Who uses a server with a password."""

# The library serves its ports while a query runs; this one runs for centuries.
_SERVE = (
    "SYSTEM START LISTEN TCP; "
    "SELECT sleepEachRow(1) FROM numbers(10000000000) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
)

_CONFIGURATION = """\
<clickhouse>
  <listen_host>{host}</listen_host>
  <tcp_port>{tcp_port}</tcp_port>
  <logger><level>warning</level><log>{log}</log></logger>
  <users_config>{users}</users_config>
</clickhouse>
"""

# Of the sources there is only Kafka, and there are no dictionaries or table engines that have sources of their own.
_RIGHTS = (
    "GRANT SHOW, SELECT, INSERT, ALTER, DROP, TRUNCATE, OPTIMIZE, SYSTEM, KILL QUERY, KAFKA ON *.*",
    "GRANT CREATE DATABASE, CREATE TABLE, CREATE TEMPORARY TABLE, CREATE VIEW ON *.*",
    *(
        f"GRANT TABLE ENGINE ON {engine}"
        for engine in (
            "MergeTree",
            "AggregatingMergeTree",
            "CollapsingMergeTree",
            "ReplacingMergeTree",
            "SummingMergeTree",
            "VersionedCollapsingMergeTree",
            "Kafka",
            "Memory",
            "Null",
        )
    ),
)
_RIGHTS_INSIDE = ("GRANT SELECT, INSERT, CREATE TEMPORARY TABLE, SYSTEM LISTEN ON *.*",)
_USERS = """\
<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>{users}</users>
</clickhouse>
"""
_USER = """
    <{name}>
      {proof}
      <networks><ip>{host}</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>{rights}</grants>
    </{name}>
"""


class ClickHouse(ServerProcess):
    """A ClickHouse server on loopback, at its native port alone: a page in a browser cannot speak to that.

    Without a `password` it is open to every process of the machine, as user default. With one, the user is `USER`.
    Neither has tables that are files, URLs, programs or other servers, except Kafka; the function `file` reads any
    file that this process may read, and cannot be refused. Data is on disk as with any server and survives `kill`.
    SIGTERM ends it at once.
    """

    def __init__(self, module: Path, folder: Path, logs: Path, port: int, *, password: str = "") -> None:
        super().__init__("clickhouse", logs / "clickhouse.log")
        self._password = password
        self._module = module
        self._folder = folder
        self._inner_port = 0
        self.port = port

    def prepare(self) -> None:
        """Make the data folder with the server's configuration, which it reads from its working directory."""
        self._inner_port = free_ports(1, (self.port,))[0]
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = _CONFIGURATION.format(
            host=HOST,
            tcp_port=self._inner_port,
            log=escape(str(self.log_path)),
            users=escape(str(self._folder / "users.xml")),
        )
        (self._folder / "config.xml").write_text(configuration)
        (self._folder / "users.xml").write_text(self._users())

    def command(self) -> list[str]:
        """Return the launcher's arguments."""
        digest = sha256(self._password.encode()).hexdigest()
        place = [str(self._module), str(self._folder)]
        return ["chdb", str(self.port), str(self._inner_port), *place, self.user, digest, _SERVE]

    @property
    def user(self) -> str:
        """Who may ask."""
        return USER if self._password else "default"

    def is_ready(self) -> bool:
        """Say whether a query over the native port is answered."""
        return clickhouse_answers(self.port, self.user, self._password)

    def _users(self) -> str:
        """The library's own queries are by user default, and so are views that were made before there was another.

        It cannot be told another name or a password, takes the addresses of every local client for the one that it has
        itself, and reads its users only once. Where there is a user with a password, default has hardly any rights, and
        the launcher keeps others from its port.
        """
        rights = _grants(_RIGHTS)
        own = _grants(_RIGHTS_INSIDE) if self._password else rights
        users = _USER.format(name="default", proof="<no_password/>", rights=own, host=HOST)
        if self._password:
            digest = sha256(self._password.encode()).hexdigest()
            proof = f"<password_sha256_hex>{digest}</password_sha256_hex>"
            users += _USER.format(name=USER, proof=proof, rights=rights, host=HOST)
        return _USERS.format(users=users)


def _grants(rights: Iterable[str]) -> str:
    return "".join(f"<query>{right}</query>" for right in rights)


def clickhouse_answers(port: int, user: str = "default", password: str = "") -> bool:
    """Say whether ClickHouse answers a query at a loopback port (native protocol) within a second."""
    try:
        # The driver logs every refused connection with its traceback.
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    client = Client(
        HOST,
        port=port,
        user=user,
        password=password,
        connect_timeout=1,
        send_receive_timeout=1,
        sync_request_timeout=1,
    )
    try:
        return bool(client.execute("SELECT 1") == [(1,)])
    except (ClickHouseError, OSError, EOFError):
        return False
    finally:
        client.disconnect()
