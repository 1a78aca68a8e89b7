"""`python -m services.sink`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.sink.app import run
from services.sink.settings import SinkSettings


def main() -> None:
    """Run the sink until it is told to stop."""
    settings = read_settings(SinkSettings)
    run_service("sink", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
