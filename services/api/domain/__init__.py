"""What a request means for the records: pure decisions."""
