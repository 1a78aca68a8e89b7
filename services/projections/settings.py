"""Settings of the projections."""

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class ProjectionsSettings(ServiceSettings, BusSettings):
    """What every service has."""
