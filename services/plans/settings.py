"""Settings of the ledger of plans."""

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class PlansSettings(ServiceSettings, BusSettings):
    """What every service has; the rules of the ledger are constants, so that a replay decides as the first run."""
