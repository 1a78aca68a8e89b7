"""Commands of the past."""

from services.api.rows import Row
from services.api.scoped import Rows


async def stored_command(reader: Rows, command_id: str) -> Row | None:
    """The command with its fate, as far as ClickHouse knows it. Raises ClickHouseError."""
    rows = await reader.rows("SELECT * FROM commands WHERE command_id = %(id)s LIMIT 1", {"id": command_id})
    return rows[0] if rows else None
