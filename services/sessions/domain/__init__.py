"""The fold from transaction steps to sessions and charge records. Pure: no I/O, no clock, no randomness.

Its modules build on each other in one order: the layers in `pyproject.toml`.
"""
