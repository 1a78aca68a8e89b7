"""What the OpenAPI document promises of every route."""

from types import SimpleNamespace
from typing import cast

from libs.runtime.service import Health
from services.api.application import create_application
from services.api.context import Context
from services.api.settings import ApiSettings

SETTINGS = ApiSettings.model_validate({"api_key": "a-key-for-these-tests"})
APP = create_application(cast(Context, SimpleNamespace(settings=SETTINGS)), Health())


def test_every_list_stands_under_items() -> None:
    for path, methods in APP.openapi()["paths"].items():
        for method in methods.values():
            for response in method["responses"].values():
                for content in response.get("content", {}).values():
                    assert content["schema"].get("type") != "array", path
