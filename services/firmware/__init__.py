"""Firmware campaigns: tasks for stations, their progress, and the proof by the version reported at boot."""
