"""What the edge decides, as pure functions of what was received, the read models and the time."""
