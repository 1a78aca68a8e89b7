"""The latest state of every session and charge record."""
