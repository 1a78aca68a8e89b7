"""The telemetry processors. Pure: no I/O, no clock, no randomness."""
