"""`python -m services.projections`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.projections.app import run
from services.projections.settings import ProjectionsSettings


def main() -> None:
    """Run the projections until they are told to stop."""
    settings = read_settings(ProjectionsSettings)
    run_service("projections", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
