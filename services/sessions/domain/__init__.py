"""The fold from transaction steps to sessions and charge records. Pure: no I/O, no clock, no randomness."""
