"""`python -m services.api`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.api.app import main
from services.api.settings import ApiSettings


def run() -> None:
    """Serve the API until told to stop."""
    settings = read_settings(ApiSettings)
    run_service("api", settings, lambda health, stop: main(settings, health, stop))


if __name__ == "__main__":
    run()
