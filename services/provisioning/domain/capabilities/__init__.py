"""What stations are and can do."""
