"""Deployment: the local platform, containers, generated documentation."""
