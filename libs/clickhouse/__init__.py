"""ClickHouse: settings, clients, migrations, and how the contract's records lie in its tables."""
