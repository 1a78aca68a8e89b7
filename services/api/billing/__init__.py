"""Sessions, charge records, and what is decided about them."""
