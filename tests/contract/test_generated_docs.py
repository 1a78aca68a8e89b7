"""Generated documentation is what the contract says now."""

from typing import Literal

import pytest
import yaml
from pydantic import Field
from pydantic_settings import BaseSettings

from deploy import settings_page
from deploy.documentation import README, ROOT, generated
from deploy.settings_page import SERVICES
from libs.events.contract import load_contract


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return generated(load_contract(), (ROOT / README).read_text())


def test_all_is_up_to_date(files: dict[str, str]) -> None:
    assert len(files) > 3
    assert [path for path, text in files.items() if (ROOT / path).read_text() != text] == [], (
        "run `make docs`"
    )


def test_asyncapi_references_resolve(files: dict[str, str]) -> None:
    document = yaml.safe_load(files["docs/asyncapi.yaml"])
    messages = {f"#/components/messages/{name}" for name in document["components"]["messages"]}
    channels = {f"#/channels/{name}" for name in document["channels"]}
    for channel in document["channels"].values():
        assert {message["$ref"] for message in channel["messages"].values()} <= messages
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"] in channels


def test_every_settings_class_of_a_service_is_on_the_settings_page() -> None:
    services = ROOT / "services"
    named = {path.parent.name for path in services.glob("*/settings.py")}
    assert named == {*SERVICES, "simulator"}


def test_a_setting_without_a_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(BaseSettings):
        width: int = 1

    monkeypatch.setattr(settings_page, "sections", lambda: iter([settings_page.Section("Bare", Bare, "x")]))
    with pytest.raises(ValueError, match=r"Bare\.width"):
        settings_page.settings_page()


class Shared(BaseSettings):
    width: int = Field(default=1, ge=0, description="How wide.")
    height: int = Field(default=1, description="How high.")


def test_a_setting_that_a_service_has_otherwise_than_the_others_is_its_own() -> None:
    class Same(Shared):
        pass

    class Default(Shared):
        width: int = Field(default=2, ge=0, description="How wide.")

    class Limit(Shared):
        width: int = Field(default=1, ge=1, description="How wide.")

    class Kind(Shared):
        width: Literal[1, 2] = Field(default=1, description="How wide.")

    class Meaning(Shared):
        width: int = Field(default=1, ge=0, description="How wide, in metres.")

    assert settings_page.own_fields(Same) == {}
    for kind in (Default, Limit, Kind, Meaning):
        assert list(settings_page.own_fields(kind)) == ["width"]
