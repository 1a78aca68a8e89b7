"""Generated documentation is what the contract says now."""

import pytest
import yaml

from deploy.documentation import README, ROOT, generated
from libs.events.contract import load_contract

FILES = generated(load_contract(), (ROOT / README).read_text())


@pytest.mark.parametrize("path", sorted(FILES))
def test_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path], "run `make docs`"


def test_asyncapi_references_resolve() -> None:
    document = yaml.safe_load(FILES["docs/asyncapi.yaml"])
    messages = {f"#/components/messages/{name}" for name in document["components"]["messages"]}
    channels = {f"#/channels/{name}" for name in document["channels"]}
    for channel in document["channels"].values():
        assert {message["$ref"] for message in channel["messages"].values()} <= messages
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"] in channels
