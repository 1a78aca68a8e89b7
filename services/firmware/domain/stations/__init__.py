"""Each station's updates."""
