"""`python -m services.load`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.load.app import run
from services.load.settings import LoadSettings


def main() -> None:
    """Run load management until told to stop."""
    settings = read_settings(LoadSettings)
    run_service("load", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
