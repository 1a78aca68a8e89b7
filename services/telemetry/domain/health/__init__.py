"""The state of stations, and counts per window of their lives."""
