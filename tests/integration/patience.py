"""How long tests wait for what is to come about: a bound, which costs nothing when it comes."""

from typing import Final

WAIT_S: Final = 120.0
"""Longer than anything takes on a machine with several times as much to do as it can."""
