"""Secrets that travel through the log, and URLs that outsiders name."""
