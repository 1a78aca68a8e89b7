"""The latest state of every station."""
