"""`python -m services.console`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.console.app import main
from services.console.settings import ConsoleSettings


def run() -> None:
    """Serve the console until told to stop."""
    settings = read_settings(ConsoleSettings)
    run_service("console", settings, lambda health, stop: main(settings, health, stop))


if __name__ == "__main__":
    run()
