"""`python -m services.telemetry`.

VOLTBUS_TELEMETRY says which processors this process runs: `measurements` (every meter value, transactional
runtime), `health` (lifecycle events, Faust), `security` (connections and alerts, transactional runtime) or `all`.
All is the default: fewer processes on a small installation. They share nothing but the connection settings, so that
a large one starts them apart and scales measurements alone.
"""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.telemetry.app import run
from services.telemetry.settings import TelemetrySettings


def main() -> None:
    """Run telemetry until it is told to stop."""
    settings = read_settings(TelemetrySettings)
    run_service("telemetry", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
