"""Shared libraries: protocol, contract, bus, runtime."""
