"""`python -m services.plans`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.plans.app import run
from services.plans.settings import PlansSettings


def main() -> None:
    """Run the ledger of plans until it is told to stop."""
    settings = read_settings(PlansSettings)
    run_service("plans", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
