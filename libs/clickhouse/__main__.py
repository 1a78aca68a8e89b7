"""Operators' tasks: `python -m libs.clickhouse migrate | forget TOPIC | rebuild TABLE...`; status 1 on failure."""

import argparse
import sys

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.layout import DERIVED
from libs.clickhouse.maintenance import forget_topic, rebuild
from libs.clickhouse.migrate import MigrationError, migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.runtime.settings import read_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one task on the database that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m libs.clickhouse")
    tasks = parser.add_subparsers(dest="task", required=True)
    tasks.add_parser("migrate", help="make and update the tables")
    forget = tasks.add_parser("forget", help="remove the rows of a topic that was deleted and made anew")
    forget.add_argument("topic")
    again = tasks.add_parser("rebuild", help="fill tables of latest states again from the log's tables")
    again.add_argument(
        "table", nargs="+", choices=sorted({name for names in DERIVED.values() for name in names})
    )
    chosen = parser.parse_args(arguments)
    settings = read_settings(ClickHouseSettings)
    client = ClickHouseClient(settings)
    try:
        if chosen.task == "migrate":
            print("\n".join(migrate(settings)) or "nothing to do")
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


if __name__ == "__main__":
    sys.exit(main())
