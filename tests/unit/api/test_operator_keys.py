"""Operators' own keys."""

import pytest
from pydantic import ValidationError

from services.api.settings import ApiSettings

PLATFORM = "the-platforms-key-0123"
ANNA, BEN = "annas-own-key-0123456789", "bens-own-key-9876543210"


def settings(operator_keys: str | None) -> ApiSettings:
    return ApiSettings.model_validate(
        {
            "kafka": "localhost:9092",
            "registry_url": "http://localhost:8081",
            "api_key": PLATFORM,
            "operator_keys": operator_keys,
        }
    )


def test_keys_are_by_operator_and_that_of_the_platform_is_the_apis() -> None:
    assert settings(None).keys == {"api": PLATFORM}
    assert settings("").keys == {"api": PLATFORM}
    assert settings(f" anna = {ANNA} , ben={BEN},").keys == {"api": PLATFORM, "anna": ANNA, "ben": BEN}
    # A key may hold the sign that ends the name, and keeps its case.
    assert settings("Anna=Key==with=Signs=0123").keys["Anna"] == "Key==with=Signs=0123"


@pytest.mark.parametrize(
    "text",
    [
        "anna",
        "anna=short",
        f"={ANNA}",
        f"anna={ANNA},anna={BEN}",
        f"anna={ANNA},Anna={BEN}",
        f"anna={ANNA},ben={ANNA}",
        f"anna={PLATFORM}",
    ],
)
def test_a_key_belongs_to_one_operator_and_is_long_enough(text: str) -> None:
    with pytest.raises(ValidationError, match="operator_keys") as refused:
        settings(text)
    assert ANNA not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("name", ["api", "API", "load", "Firmware", "sessions", "onboarding"])
def test_nobody_has_the_name_of_a_part_of_the_platform(name: str) -> None:
    # What load or firmware asked for is answered to them: an operator's command must not seem to be theirs.
    with pytest.raises(ValidationError, match="operator_keys"):
        settings(f"{name}={ANNA}")
