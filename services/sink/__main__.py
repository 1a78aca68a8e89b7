"""`python -m services.sink`."""

from libs.runtime.service import run_service
from services.sink.app import run
from services.sink.settings import SinkSettings


def main() -> None:
    """Run the sink until it is told to stop."""
    settings = SinkSettings()
    run_service("sink", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
