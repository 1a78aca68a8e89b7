"""What chargers are asked about themselves, and what is put on them."""
