"""What `add`, `set` and `remove` do, whatever it is that is configured."""

from typing import Annotated

import typer

from services.cli.client import Json, segment
from services.cli.context import api
from services.cli.output import done

Organisation = Annotated[
    str | None, typer.Option("--organisation", help="Organisation that it belongs to; empty: to none.")
]


def save(context: typer.Context, kind: str, key: str, entry: str, settings: Json, *, json: bool) -> None:
    """Create the entry if the command is `add`, else change what `settings` names.

    `kind`: such as `station`; `key`: the field of its id; `entry`: the id.
    """
    if context.command.name == "add":
        saved, how = api(context).request("POST", f"/{kind}s", {key: entry, **settings}), "added"
    else:
        saved, how = api(context).request("PATCH", f"/{kind}s/{segment(entry)}", settings), "changed"
    done(saved, json, f"{kind} {saved[key]} {how}")


def remove(context: typer.Context, kind: str, entry: str, shown: str, *, json: bool) -> None:
    """Forget the entry; `shown`: its id as the API keeps it."""
    api(context).request("DELETE", f"/{kind}s/{segment(entry)}")
    done({"removed": shown}, json, f"{kind} {shown} removed")
