"""ClickHouse inside a child process, from its embeddable library."""

import socket
from pathlib import Path
from xml.sax.saxutils import escape

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from libs.testing.localstack.endpoints import HOST, free_ports
from libs.testing.localstack.process import Part

# The library serves its ports while a query runs; this one runs for centuries.
_SERVE = (
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
    "SELECT sleepEachRow(1) FROM numbers(10000000000) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null"
)

_CONFIGURATION = """\
<clickhouse>
  <listen_host>{host}</listen_host>
  <tcp_port>{tcp_port}</tcp_port>
  <http_port>{http_port}</http_port>
  <logger><level>warning</level><log>{log}</log></logger>
</clickhouse>
"""


class ClickHouse(Part):
    """A ClickHouse server with native and HTTP ports and no user management: bind to loopback only.

    Data is on disk as with any server and survives `kill`. SIGTERM ends it at once.
    """

    def __init__(self, module: Path, folder: Path, logs: Path, port: int, http_port: int) -> None:
        super().__init__("clickhouse", logs / "clickhouse.log")
        self._module = module
        self._folder = folder
        self._inner_port = 0
        self.port = port
        self.http_port = http_port

    def prepare(self) -> None:
        """Make the data folder with the server's configuration, which it reads from its working directory."""
        self._inner_port = free_ports(1, (self.port, self.http_port))[0]
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = _CONFIGURATION.format(
            host=HOST, tcp_port=self._inner_port, http_port=self.http_port, log=escape(str(self.log_path))
        )
        (self._folder / "config.xml").write_text(configuration)

    def command(self) -> list[str]:
        """Return the launcher's arguments."""
        return ["chdb", str(self.port), str(self._inner_port), str(self._module), str(self._folder), _SERVE]

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
