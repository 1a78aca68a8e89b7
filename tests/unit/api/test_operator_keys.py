"""Operators' own keys."""

from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import ValidationError

from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
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


@pytest.mark.parametrize("name", ["certificates", "firmware-stations", "load-observer", "projections"])
def test_nor_that_of_a_processor(name: str) -> None:
    with pytest.raises(ValidationError, match="operator_keys"):
        settings(f"{name}={ANNA}")


@pytest.mark.parametrize("name", ["a\u200bpi", "\uff41pi", "an\u202ena", "anna\x1b[0m", "x" * 65])
def test_a_name_is_what_it_looks_like(name: str) -> None:
    with pytest.raises(ValidationError, match="operator_keys"):
        settings(f"{name}={ANNA}")
    assert "Zo\u00eb M\u00fcller" in settings(f"Zo\u00eb M\u00fcller={ANNA}").keys


def test_no_request_names_who_asks() -> None:
    """Who asks is whose key it is: no body and no parameter has a place for a name."""
    context = SimpleNamespace(settings=settings(None))
    described = create_application(cast(Context, context), Health()).openapi()
    bodies = {
        part["schema"]["$ref"].rpartition("/")[2]
        for methods in described["paths"].values()
        for method in methods.values()
        for part in method.get("requestBody", {}).get("content", {}).values()
        if "$ref" in part["schema"]
    }
    assert len(bodies) > 15
    for body in bodies:
        schema = described["components"]["schemas"][body]
        assert schema["additionalProperties"] is False, body
        assert not {"requested_by", "decided_by", "requester", "made_by"} & set(schema["properties"]), body
    for path, methods in described["paths"].items():
        for method in methods.values():
            names = {parameter["name"] for parameter in method.get("parameters", ())}
            assert not {"requested_by", "decided_by", "requester"} & names, path
