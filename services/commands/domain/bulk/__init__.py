"""Bulk commands: one request, one command to each of many stations."""
