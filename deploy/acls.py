"""Kafka's access control lists, from the topic files: `python -m deploy.acls [--apply]`; status 1 on failure.

Without `--apply` it prints kafka-acls commands and connects to nothing.
"""

import argparse
import asyncio
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

from libs.bus.access import apply_rights
from libs.bus.rights import Right, rights
from libs.bus.settings import BusSettings
from libs.events.contract import load_contract
from libs.runtime.settings import read_settings

_TOOL = 'kafka-acls.sh --bootstrap-server "$KAFKA" --command-config "$ADMIN" --add'


def main(arguments: list[str] | None = None) -> int:
    """Print or apply the rights of every principal on the bus that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m deploy.acls", description=__doc__)
    parser.add_argument(
        "--apply", action="store_true", help="change the lists of the cluster (VOLTBUS_KAFKA)"
    )
    parser.add_argument("--principal", default="User:{}", help="what Kafka calls a principal; {} is its name")
    chosen = parser.parse_args(arguments)
    settings = read_settings(BusSettings)
    wanted = rights(settings, load_contract())
    if not chosen.apply:
        print("\n".join(commands(wanted, chosen.principal)))
        return 0
    try:
        changed = asyncio.run(apply_rights(settings, wanted, chosen.principal))
    # aiokafka's errors are RuntimeErrors.
    except (RuntimeError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{changed.added} entries added, {changed.removed} removed")
    return 0


def commands(wanted: Iterable[Right], principal: str) -> Iterator[str]:
    """A kafka-acls command for each principal, kind, operation and pattern; $KAFKA and $ADMIN are left to the shell."""
    together: dict[tuple[str, str, str, bool], list[str]] = defaultdict(list)
    for right in wanted:
        together[right.principal, right.operation, right.kind, right.prefixed].append(right.name)
    for (name, operation, kind, prefixed), resources in sorted(together.items()):
        line = f"{_TOOL} --allow-principal {shlex.quote(principal.format(name))} --operation {operation}"
        if prefixed:
            line += " --resource-pattern-type prefixed"
        yield line + "".join(f" --{kind} {shlex.quote(resource)}" for resource in sorted(resources))


if __name__ == "__main__":
    sys.exit(main())
