"""`python -m services.firmware`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.firmware.app import run
from services.firmware.settings import FirmwareSettings


def main() -> None:
    """Run firmware campaigns until told to stop."""
    settings = read_settings(FirmwareSettings)
    run_service("firmware", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
