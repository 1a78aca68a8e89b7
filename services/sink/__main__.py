"""`python -m services.sink`."""

import gc

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.sink.app import run
from services.sink.settings import SinkSettings


def main() -> None:
    """Run the sink until it is told to stop."""
    settings = read_settings(SinkSettings)
    # Blocks are tens of thousands of small objects without cycles: searching them for cycles again and again costs
    # a quarter of the decoding.
    gc.set_threshold(200_000, 20, 20)
    run_service("sink", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
