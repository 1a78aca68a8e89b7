"""What stations are asked when they have booted."""
