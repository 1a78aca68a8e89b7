"""Telemetry: canonical measurements, and the state and health of stations."""
