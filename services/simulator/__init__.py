"""Virtual chargers of several makes, for demonstrations, tests and load."""
