"""Chargers that speak OCPP 1.6."""
