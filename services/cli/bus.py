"""`voltbus contract` and `voltbus dlq`: these talk to Kafka and the schema registry themselves.

The Kafka client is imported when it is needed: it takes longer than everything else of the program together.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from libs.bus.errors import BusError
from libs.bus.settings import BusSettings
from libs.events.contract import load_contract
from libs.runtime.logging import configure_logging
from libs.runtime.settings import read_settings
from services.cli.client import CliError, as_json
from services.cli.moments import iso
from services.cli.output import AsJson, done, moment, table

if TYPE_CHECKING:
    from libs.bus.admin import Applied
    from libs.bus.dead_letters import DeadLetter

contract = typer.Typer(help="The topics and schemas in proto_schemas/.", no_args_is_help=True)
dlq = typer.Typer(help="Dead letters: records that a processor could not handle.", no_args_is_help=True)

T = TypeVar("T")

_SHOWN_KEY = 64


@contract.command("apply")
def apply(json: AsJson = False) -> None:
    """Create the topics that are missing and register the schemas. Safe to repeat."""
    applied = run_on_bus(_apply())
    found = {"created": list(applied.created), "schema_ids": dict(applied.schema_ids)}
    done(found, json, f"{len(applied.created)} topics created, {len(applied.schema_ids)} schemas in force")


Topic = Annotated[str, typer.Argument(help="The topic that they came from, such as ocpp.transactions.")]


@dlq.command("list")
def list_letters(
    topic: Annotated[
        str | None, typer.Argument(help="The topic that they came from; all without it.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    topics = _with_dead_letters() if topic is None else [_known(topic)]
    letters = [_letter(name, each) for name, each in run_on_bus(_letters(topics))]
    if json:
        typer.echo(as_json(letters))
        return
    columns = [
        ("topic", lambda each: each["topic"]),
        ("offset", lambda each: each["offset"]),
        ("since", lambda each: moment(each["recorded_at"])),
        ("processor", lambda each: each["processor"]),
        ("record", lambda each: f"{each['source_partition']}/{each['source_offset']}"),
        ("key", lambda each: each["key"][:_SHOWN_KEY]),
        ("error", lambda each: f"{each['error_type']}: {each['error']}"),
    ]
    table(letters, columns, "no dead letters")


@dlq.command("replay")
def replay(
    topic: Topic,
    offsets: Annotated[
        list[int] | None, typer.Option("--offset", help="Only the dead letter at this offset; repeatable.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write dead letters back to the topic that they came from, as they were.

    Every consumer sees them again and drops what it has seen. Status 1 if none was found.
    """
    count = run_on_bus(_replay(_known(topic), set(offsets) if offsets else None))
    done({"topic": topic, "replayed": count}, json, f"{count} records written back to {topic}")
    if not count:
        raise typer.Exit(1)


async def _apply() -> "Applied":
    from libs.bus.admin import apply_contract  # noqa: PLC0415

    return await apply_contract(read_settings(BusSettings))


async def _letters(topics: Sequence[str]) -> "list[tuple[str, DeadLetter]]":
    from libs.bus.bus import connect  # noqa: PLC0415
    from libs.bus.dead_letters import list_dead_letters  # noqa: PLC0415

    async with connect(read_settings(BusSettings)) as bus:
        return [(topic, each) for topic in topics async for each in list_dead_letters(bus, topic)]


async def _replay(topic: str, offsets: set[int] | None) -> int:
    from libs.bus.bus import connect  # noqa: PLC0415
    from libs.bus.dead_letters import replay_dead_letters  # noqa: PLC0415

    async with connect(read_settings(BusSettings)) as bus:
        return await replay_dead_letters(bus, topic, offsets)


def _letter(topic: str, dead: "DeadLetter") -> dict[str, Any]:
    letter = dead.letter
    return {
        "topic": topic,
        "offset": dead.offset,
        "recorded_at": iso(letter.recorded_at),
        "processor": letter.processor,
        "source_partition": letter.source_partition,
        "source_offset": letter.source_offset,
        "key": letter.record_key,
        "error_type": letter.error_type,
        "error": letter.error,
        "value_hex": None if letter.value is None else letter.value.hex(),
    }


def _with_dead_letters() -> list[str]:
    return [topic.name for topic in load_contract().topics.values() if topic.dead_letters]


def _known(topic: str) -> str:
    known = _with_dead_letters()
    name = topic.removesuffix(".dead")
    if name not in known:
        near = get_close_matches(name, known, 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise typer.BadParameter(f"no topic {topic!r} with dead letters{hint}")
    return name


def run_on_bus(work: Coroutine[Any, Any, T]) -> T:
    """Do work that talks to Kafka. Raises CliError if that fails."""
    # Standard output is the answer, and what goes wrong is said once, by the error.
    configure_logging("cli")
    logging.disable(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except BusError as error:
        raise CliError(str(error)) from error
    # aiokafka's errors are RuntimeErrors.
    except (RuntimeError, OSError) as error:
        settings = BusSettings()
        where = f"Kafka at {settings.kafka}, registry at {settings.registry_url}"
        raise CliError(
            f"{error or type(error).__name__} ({where}; VOLTBUS_KAFKA and VOLTBUS_REGISTRY_URL)"
        ) from error
