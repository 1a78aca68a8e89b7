"""Run as a script: exit 0 if every process of this container answers `/health/ready` with 200; else say why.

It imports only the standard library, so that asking every ten seconds costs nearly nothing.
"""

import os
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

HOST = "127.0.0.1"
TIMEOUT_S = 3.0


def ports(environment: Mapping[str, str]) -> range:
    """Return the health ports of this container, from `VOLTBUS_HTTP_PORT` and `VOLTBUS_EDGE_PROCESSES`.

    Several edge processes have a supervisor at the first port and serve at those that follow it.
    """
    first = int(environment["VOLTBUS_HTTP_PORT"])
    processes = int(environment.get("VOLTBUS_EDGE_PROCESSES", "1"))
    return range(first, first + 1 + (processes if processes > 1 else 0))


def failure(port: int) -> str:
    """Ask the process at a loopback port; returns why it is not ready, or nothing."""
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"port {port}: {error}"
    finally:
        connection.close()
    return "" if response.status == HTTPStatus.OK else f"port {port}: {answer}"


def main() -> int:
    """Ask every process; returns the exit status."""
    failures = [text for text in map(failure, ports(os.environ)) if text]
    print("\n".join(failures) or "ready")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
