"""What firmware campaigns decide. Pure: no I/O, no clock, no randomness."""
