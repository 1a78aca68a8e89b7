"""Settings of load management."""

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class LoadSettings(ServiceSettings, BusSettings):
    """What every service has; the rules of the fold are constants, so that a replay decides as the first run."""
