"""What needs a person, by its cause."""
