"""The edge: holds the chargers' websockets, answers them, and writes down everything that is said."""
