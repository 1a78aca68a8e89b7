"""Tariffs: what they consist of, what a session used, and what it costs. Pure; money and energy are integers."""
