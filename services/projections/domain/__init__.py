"""What is latest, told from the public log alone."""
