"""The marker of the interoperability tests."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interop: a charger on somebody else's client library")
