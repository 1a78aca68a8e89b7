"""`python -m services.provisioning`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.provisioning.app import run
from services.provisioning.settings import ProvisioningSettings


def main() -> None:
    """Run provisioning until told to stop."""
    settings = read_settings(ProvisioningSettings)
    run_service("provisioning", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
