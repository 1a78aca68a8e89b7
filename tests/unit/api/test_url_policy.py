"""Which hosts chargers may be sent to."""

import pytest

from services.api.domain.errors import Invalid
from services.api.settings import ApiSettings


def allows(url: str, **settings: str) -> bool:
    policy = ApiSettings.model_validate({"api_key": "a-key-for-these-tests", **settings}).url_policy
    try:
        policy.check(url, "/location")
    except Invalid as refused:
        return refused.path != "/location"
    return True


def test_any_public_host_unless_some_are_named() -> None:
    assert allows("https://files.example.org/x")
    assert not allows("https://minio/x")
    assert not allows("https://files.example.org/x", url_hosts="")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://files.example.org/x", True),
        ("https://FILES.example.org./x", True),
        ("https://a.example.net/x", True),
        ("https://a.b.example.net/x", True),
        ("https://minio:9000/x", True),
        ("ftp://10.1.2.3/x", True),
        ("https://example.net/x", False),
        ("https://badexample.net/x", False),
        ("https://example.org/x", False),
        ("https://files.example.org.evil.com/x", False),
        ("https://files.example.org%2e/x", False),
        ("https://93.184.215.14/x", False),
        ("https://10.9.9.9/x", False),
    ],
)
def test_only_hosts_that_are_named(url: str, allowed: bool) -> None:
    named = {"url_hosts": "files.example.org, *.example.net, minio", "url_networks": "10.1.0.0/16"}
    assert allows(url, **named) is allowed


def test_credentials_are_not_taken_for_a_host() -> None:
    named = {"url_hosts": "files.example.org", "url_credentials": "true"}
    assert allows("ftp://user:p%40ss@files.example.org/x", **named)
    assert not allows("ftp://files.example.org@evil.com/x", **named)
    assert not allows("ftp://user:a@b@evil.com/x", **named)
