"""What is decided of commands. Pure: no I/O, no clock, no randomness."""
