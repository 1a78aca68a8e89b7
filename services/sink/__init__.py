"""Copies every topic of the contract into ClickHouse, exactly once in effect."""
