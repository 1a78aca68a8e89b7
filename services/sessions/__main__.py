"""`python -m services.sessions`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.sessions.app import run
from services.sessions.settings import SessionsSettings


def main() -> None:
    """Run the sessions processor until it is told to stop."""
    settings = read_settings(SessionsSettings)
    run_service("sessions", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
