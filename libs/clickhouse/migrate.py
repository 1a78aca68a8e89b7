"""Numbered migrations: SQL files applied once each, in order.

Every statement is idempotent (`IF NOT EXISTS` and the like), so that a migration that was killed half-way, or run
by two processes at the same time, ends in the same tables.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from string import Template

import msgspec

from libs.clickhouse.client import ClickHouseClient, NotMigratedError
from libs.clickhouse.settings import ClickHouseSettings
from libs.runtime.logging import get_logger

log = get_logger(__name__)

FOLDER = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_END_OF_STATEMENT = re.compile(r";\s*$", re.MULTILINE)
_COMMENT_LINE = re.compile(r"^--.*\n", re.MULTILINE)


class MigrationError(Exception):
    """The migration files are not in order, or differ from what was applied."""


class Migration(msgspec.Struct, frozen=True):
    """One file. `statements` have placeholders: $database, $on_cluster, ${replicated}."""

    number: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def load_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Every migration of `folder` in order. Raises MigrationError for a number that is there twice or a name that is
    not NNNN_name.sql. Numbers may be left out: branches take theirs beforehand, and each is applied once it is there.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        last = found[-1].number if found else 0
        if match is None or int(match[1]) <= last:
            raise MigrationError(
                f"{path.name}: expected a file named NNNN_name.sql with a number above {last}"
            )
        text = path.read_text()
        bare = _COMMENT_LINE.sub("", text)
        statements = tuple(part.strip() for part in _END_OF_STATEMENT.split(bare) if part.strip())
        found.append(Migration(int(match[1]), path.stem, sha256(text.encode()).hexdigest(), statements))
    return found


def migrate(settings: ClickHouseSettings) -> list[str]:
    """Create the database if it is missing and apply what has not been applied; returns the names of that.

    Who may only write can call it on tables that are finished. Raises MigrationError if a file changed after it was
    applied, ClickHouseError if a statement fails.
    """
    client = ClickHouseClient(settings)
    try:
        try:
            applied = _applied(client)
        except NotMigratedError:
            _create_database(settings)
            applied = _applied(client)
        return _apply(client, settings, applied)
    finally:
        client.close()


def _applied(client: ClickHouseClient) -> dict[int, str]:
    """The checksums of what was applied, by number."""
    rows = client.rows("SELECT number, checksum FROM schema_migrations")
    return {row["number"]: row["checksum"] for row in rows}


def _create_database(settings: ClickHouseSettings) -> None:
    values = placeholders(settings)
    client = ClickHouseClient(settings, database="default")
    try:
        for statement in (
            "CREATE DATABASE IF NOT EXISTS $database $on_cluster",
            "CREATE TABLE IF NOT EXISTS $database.schema_migrations $on_cluster"
            " (number UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
            " ENGINE = ${replicated}ReplacingMergeTree ORDER BY number",
        ):
            client.execute(Template(statement).substitute(values))
    finally:
        client.close()


def _apply(client: ClickHouseClient, settings: ClickHouseSettings, applied: Mapping[int, str]) -> list[str]:
    values = placeholders(settings)
    done = []
    for migration in load_migrations():
        if migration.number in applied:
            if applied[migration.number] != migration.checksum:
                raise MigrationError(f"{migration.name}.sql changed after it was applied: add a new file")
            continue
        for statement in migration.statements:
            client.execute(Template(statement).substitute(values))
        client.insert(
            "schema_migrations",
            ("number", "name", "checksum"),
            [[migration.number], [migration.name], [migration.checksum]],
            token=migration.name,
        )
        log.info("migration_applied", name=migration.name, database=settings.clickhouse_database)
        done.append(migration.name)
    return done


def placeholders(settings: ClickHouseSettings) -> dict[str, str]:
    """What the placeholders of a statement stand for under `settings`."""
    cluster = settings.clickhouse_cluster
    return {
        "database": settings.clickhouse_database,
        "on_cluster": f"ON CLUSTER '{cluster}'" if cluster else "",
        # Paths and replica names come from the servers' default_replica_path and macros.
        "replicated": "Replicated" if cluster else "",
    }
