"""How things are now: states, the event stream, load plans, campaigns under way."""
