"""What load management decides. Pure: no I/O, no clock, no randomness."""
