"""One station's commands: what waits, what is in flight, what has its fate."""
