"""What each service of `make up` is told."""

from pathlib import Path

import pytest

from deploy.local.platform import Platform
from deploy.local.settings import LocalSettings


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name in ("API_KEY", "OPERATOR_KEYS", "TRANSACTION_KEY", "SECRETS_KEY"):
        monkeypatch.setenv(f"VOLTBUS_{name}", f"the-users-own-{name}")
    return Platform(LocalSettings(data=tmp_path))


@pytest.mark.parametrize(
    ("secret", "readers"),
    [
        ("VOLTBUS_API_KEY", {"api"}),
        ("VOLTBUS_OPERATOR_KEYS", {"api"}),
        ("VOLTBUS_TRANSACTION_KEY", {"edge-0", "edge-1"}),
        ("VOLTBUS_SECRETS_KEY", {"api", "console", "edge-0", "edge-1"}),
    ],
)
def test_a_secret_is_in_the_environment_of_who_uses_it_only(
    platform: Platform, secret: str, readers: set[str]
) -> None:
    found = {name for name, service in platform.services.items() if secret in service.environment()}
    assert found == readers


def test_no_service_has_anothers_secret_under_another_name(platform: Platform) -> None:
    secrets = platform.secrets
    for name, service in platform.services.items():
        values = set(service.environment().values())
        assert (secrets.api_key in values) == (name == "api")
        assert (secrets.transaction_key in values) == name.startswith("edge-")
