"""Provisioning: what stations are and can do."""
