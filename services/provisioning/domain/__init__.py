"""What provisioning decides. Pure: no I/O, no clock, no randomness."""
