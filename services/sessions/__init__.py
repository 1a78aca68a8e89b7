"""Sessions: the transactions of every OCPP version folded into one session model, and their charge records."""
