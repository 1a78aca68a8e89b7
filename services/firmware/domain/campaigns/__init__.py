"""Campaigns: their tasks, and how many stations are through."""
