"""`python -m services.commands`."""

from libs.runtime.service import run_service
from libs.runtime.settings import read_settings
from services.commands.app import run
from services.commands.settings import CommandsSettings


def main() -> None:
    """Run the command ledger until told to stop."""
    settings = read_settings(CommandsSettings)
    run_service("commands", settings, lambda health, stop: run(settings, health, stop))


if __name__ == "__main__":
    main()
