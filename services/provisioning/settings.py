"""Settings of provisioning."""

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class ProvisioningSettings(ServiceSettings, BusSettings):
    """What every service has."""
