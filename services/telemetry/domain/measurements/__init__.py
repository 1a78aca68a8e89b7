"""Canonical measurements."""
