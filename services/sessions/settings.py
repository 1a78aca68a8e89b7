"""Settings of the sessions processor."""

from pydantic import Field

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class SessionsSettings(ServiceSettings, BusSettings):
    """What every service has; the rules of the fold are constants, so that a replay decides as the first run.

    What drivers are shown is no part of that: it changes no session and no charge.
    """

    show_cost_every_s: int = Field(
        default=300,
        ge=0,
        description="Least time between two displays of the cost so far at a 2.x station; 0: never.",
    )
