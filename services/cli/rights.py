"""`voltbus contract rights`: Kafka's access control lists, from the topic files."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from libs.bus.settings import BusSettings
from libs.events.contract import load_contract
from libs.runtime.settings import read_settings
from services.cli.bus import run_on_bus

if TYPE_CHECKING:
    from libs.bus.rights import Right

_TOOL: Final = 'kafka-acls.sh --bootstrap-server "$KAFKA" --command-config "$ADMIN" --add'


def show_or_apply(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Change the lists of the cluster.")] = False,
    principal: Annotated[
        str, typer.Option(help="What Kafka calls a principal; {} stands for its name.")
    ] = "User:{}",
) -> None:
    """Print the rights of each service in Kafka as kafka-acls commands, without connecting; or apply them.

    The rights come from the topic files. With --apply those that are missing are added, and what the same principals
    have beyond them is removed; it needs an administrator's credentials (VOLTBUS_KAFKA_...).
    """
    from libs.bus.rights import rights  # noqa: PLC0415

    settings = read_settings(BusSettings)
    wanted = rights(settings, load_contract())
    if not apply:
        typer.echo("\n".join(commands(wanted, principal)))
        return
    from libs.bus.access import apply_rights  # noqa: PLC0415

    changed = run_on_bus(apply_rights(settings, wanted, principal))
    typer.echo(f"{changed.added} entries added, {changed.removed} removed")


def commands(wanted: "Iterable[Right]", principal: str) -> Iterator[str]:
    """A kafka-acls command for each principal, kind, operation and pattern; $KAFKA and $ADMIN are left to the shell."""
    together: dict[tuple[str, str, str, bool], list[str]] = defaultdict(list)
    for right in wanted:
        together[right.principal, right.operation, right.kind, right.prefixed].append(right.name)
    for (name, operation, kind, prefixed), resources in sorted(together.items()):
        line = f"{_TOOL} --allow-principal {shlex.quote(principal.format(name))} --operation {operation}"
        if prefixed:
            line += " --resource-pattern-type prefixed"
        yield line + "".join(f" --{kind} {shlex.quote(resource)}" for resource in sorted(resources))
