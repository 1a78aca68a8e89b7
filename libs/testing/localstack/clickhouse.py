"""ClickHouse inside a child process, from its embeddable library."""

import socket
from pathlib import Path

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from libs.testing.localstack.endpoints import HOST, free_ports
from libs.testing.localstack.process import Part

# The library's command line serves its ports while a query runs; this one runs for centuries.
_SERVE = (
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
    "SELECT sleepEachRow(1) FROM numbers(10000000000) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
)


class ClickHouse(Part):
    """A ClickHouse server with native and HTTP ports and no user management: bind to loopback only.

    Data is on disk as with any server and survives `kill`. SIGTERM ends it at once.
    """

    def __init__(self, library: Path, folder: Path, logs: Path, port: int, http_port: int) -> None:
        super().__init__("clickhouse", logs / "clickhouse.log")
        self._library = library
        self._folder = folder
        self.port = port
        self.http_port = http_port

    def prepare(self) -> None:
        """Make the data folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """Return the launcher's arguments."""
        inner_port = free_ports(1, (self.port, self.http_port))[0]
        options = {
            "path": self._folder,
            "listen_host": HOST,
            "tcp_port": inner_port,
            "http_port": self.http_port,
            "logger.level": "warning",
            "logger.log": self.log_path,
            "query": _SERVE,
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return ["libchdb", str(self.port), str(inner_port), str(self._library), *arguments]

    def is_ready(self) -> bool:
        """Say whether a query over the native port is answered."""
        return clickhouse_answers(self.port)


def clickhouse_answers(port: int) -> bool:
    """Say whether ClickHouse answers a query at a loopback port (native protocol) within a second."""
    try:
        # The driver logs every refused connection with its traceback.
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    client = Client(HOST, port=port, connect_timeout=1, send_receive_timeout=1, sync_request_timeout=1)
    try:
        return bool(client.execute("SELECT 1") == [(1,)])
    except (ClickHouseError, OSError, EOFError):
        return False
    finally:
        client.disconnect()
