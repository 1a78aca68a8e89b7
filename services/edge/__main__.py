"""`python -m services.edge`."""

from libs.bus.settings import BusSettings
from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.edge.app import main
from services.edge.settings import EdgeSettings
from services.edge.supervisor import supervise


def run() -> None:
    """Run one edge process, or a supervisor of several."""
    settings, bus = read_settings(EdgeSettings), read_settings(BusSettings)
    if settings.edge_processes > 1:
        # Its processes have their own bound each, and it waits for them.
        patient = settings.model_copy(update={"stop_timeout_s": settings.stop_timeout_s + 15})
        run_service("edge", patient, lambda health, stop: supervise(settings, health, stop))
    else:
        run_service("edge", settings, lambda health, stop: main(settings, bus, health, stop))


if __name__ == "__main__":
    run()
