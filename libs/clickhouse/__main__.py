"""Operators' tasks, `python -m libs.clickhouse TASK`: migrate, roles, analyst, forget, rebuild; status 1 on failure."""

import argparse
import re
import sys
from collections.abc import Iterator
from typing import Final

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.maintenance import forget_topic, rebuild
from libs.clickhouse.migrate import MigrationError, migrate
from libs.clickhouse.table_mapping import DERIVED
from libs.clickhouse.users import UserSettings, analyst_statements, kept, role_statements, user_statements
from libs.runtime.settings import read_settings

_ORGANISATION: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def main(arguments: list[str] | None = None) -> int:
    """Run one task on the database that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m libs.clickhouse")
    tasks = parser.add_subparsers(dest="task", required=True)
    tables = tasks.add_parser("migrate", help="make and update the tables")
    tables.add_argument(
        "--users", action="store_true", help="and the users whose passwords are set, each with its rights"
    )
    tasks.add_parser("roles", help="print the SQL of the roles of writers and readers")
    analyst = tasks.add_parser("analyst", help="make a user who sees the rows of one organisation")
    analyst.add_argument("organisation")
    forget = tasks.add_parser("forget", help="remove the rows of a topic that was deleted and made anew")
    forget.add_argument("topic")
    again = tasks.add_parser("rebuild", help="fill tables of latest states again from the log's tables")
    again.add_argument(
        "table", nargs="+", choices=sorted({name for names in DERIVED.values() for name in names})
    )
    chosen = parser.parse_args(arguments)
    settings = read_settings(UserSettings)
    if chosen.task == "roles":
        print(";\n".join(role_statements(settings)) + ";")
        return 0
    client = ClickHouseClient(settings)
    try:
        if chosen.task == "migrate":
            print("\n".join(migrate(settings)) or "nothing to do")
            if chosen.users:
                for statement in (*role_statements(settings), *user_statements(settings)):
                    client.execute(statement)
        elif chosen.task == "analyst":
            for statement in _analyst(client, settings, chosen.organisation):
                client.execute(statement)
        elif chosen.task == "forget":
            forget_topic(client, chosen.topic)
        else:
            rebuild(client, tuple(chosen.table))
    except (ClickHouseError, MigrationError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        client.close()
    return 0


def _analyst(client: ClickHouseClient, settings: UserSettings, organisation: str) -> Iterator[str]:
    password = settings.clickhouse_analyst_password
    if password is None or _ORGANISATION.fullmatch(organisation) is None:
        raise ClickHouseError("an organisation's id is needed, and VOLTBUS_CLICKHOUSE_ANALYST_PASSWORD")
    known = kept(client, settings.clickhouse_database)
    return analyst_statements(settings, organisation, password.get_secret_value(), known)


if __name__ == "__main__":
    sys.exit(main())
