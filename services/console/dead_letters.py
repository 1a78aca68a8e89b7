"""One dead letter: as it was kept, and written back."""

import asyncio
from typing import Any, Final

import msgspec

from libs.bus.bus import connect
from libs.bus.dead_letters import replay_dead_letters
from libs.bus.errors import BusUnavailableError
from services.api.context import Context

_LONGEST_S: Final = 60.0
_MOST_BYTES: Final = 16_384

LETTER: Final = """
SELECT event_id, recorded_at, processor, source_topic, source_partition, source_offset, error_type, error,
       _offset, hex(ifNull(key, '')) AS key_hex, length(ifNull(value, '')) AS bytes,
       hex(substring(ifNull(value, ''), 1, %(most)s)) AS value_hex,
       headers.name AS header_names, arrayMap(each -> hex(each), headers.value) AS header_values
FROM dead_letters WHERE event_id = %(event_id)s ORDER BY recorded_at DESC LIMIT 1
"""


class NotAllowed(Exception):
    """The console's principal has no right in Kafka to read the dead letters of the topic, or to write to it."""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter. `dump`: the first of its `bytes` as a hex dump. `offset`: in `<topic>.dead`."""

    event_id: str
    recorded_at: Any
    processor: str
    source_topic: str
    source_partition: int
    source_offset: int
    error_type: str
    error: str
    offset: int
    key: str
    bytes: int
    dump: str
    headers: tuple[tuple[str, str], ...]


async def letter(api: Context, event_id: str) -> Letter | None:
    """The dead letter, or None. Raises like `Reader.rows`."""
    rows = await api.reader.rows(LETTER, {"event_id": event_id, "most": _MOST_BYTES})
    if not rows:
        return None
    row = rows[0]
    return Letter(
        event_id=row["event_id"],
        recorded_at=row["recorded_at"],
        processor=row["processor"],
        source_topic=row["source_topic"],
        source_partition=row["source_partition"],
        source_offset=row["source_offset"],
        error_type=row["error_type"],
        error=row["error"],
        offset=row["_offset"],
        key=_text(row["key_hex"]),
        bytes=row["bytes"],
        dump=dumped(bytes.fromhex(row["value_hex"])),
        headers=tuple(
            (name, _text(value))
            for name, value in zip(row["header_names"], row["header_values"], strict=True)
        ),
    )


async def write_back(api: Context, found: Letter) -> int:
    """Write it back to its topic, as `voltbus dlq replay` does; how many records that were: 0 if it is gone.

    Raises NotAllowed if Kafka does not let the console write to that topic, BusUnavailableError if it does not answer.
    """
    try:
        async with asyncio.timeout(_LONGEST_S), connect(api.settings) as bus:
            return await replay_dead_letters(bus, found.source_topic, {found.offset})
    except (TimeoutError, RuntimeError, OSError) as error:
        # aiokafka's errors are RuntimeErrors.
        if "Authorization" in type(error).__name__:
            raise NotAllowed(found.source_topic) from error
        raise BusUnavailableError(f"{found.source_topic}: {error!r}") from error


def dumped(value: bytes) -> str:
    """Bytes as a hex dump: the place, 16 bytes, and what of them is text."""
    lines = []
    for at in range(0, len(value), 16):
        part = value[at : at + 16]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        lines.append(f"{at:06x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "replace")
