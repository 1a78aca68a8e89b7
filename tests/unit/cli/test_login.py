"""Signing in at the command line: the device grant, and where the key is kept."""

from __future__ import annotations

import stat
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from typer.testing import CliRunner, Result

from services.cli import app as cli
from services.cli.client import Client, CliError
from services.cli.device import Code, Tokens, tokens_of_person
from services.cli.signed_in import SignedIn, keep, kept, key_for, place
from tests.unit.cli.test_cli import Api, problem, run

ISSUER = "https://login.example.org"
METADATA = {
    "issuer": ISSUER,
    "token_endpoint": f"{ISSUER}/token",
    "device_authorization_endpoint": f"{ISSUER}/device",
}
CODE = {
    "device_code": "secret",
    "user_code": "ABCD\x1b[2J",
    "verification_uri": f"{ISSUER}/activate",
    "expires_in": 60,
    "interval": 5,
}
ANNA = SignedIn("anna", "2026-12-01T20:00:00Z", "vbs_secret")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "voltbus"


class At:
    """A provider that answers the command line's questions in turn."""

    def __init__(self, *answers: str, metadata: Any = METADATA, code: Any = CODE) -> None:
        self.answers = list(answers)
        self.metadata = metadata
        self.code = code
        self.slept: list[float] = []
        self.shown: list[Code] = []
        self.forms: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return found(self.metadata)
        self.forms.append(dict(parse_qsl(request.content.decode())))
        if request.url.path == "/device":
            return found(self.code)
        answer = self.answers.pop(0)
        if answer == "ok":
            return httpx.Response(200, json={"id_token": "the token", "access_token": "more"})
        return httpx.Response(400, json={"error": answer})

    def tokens(self) -> Tokens:
        return tokens_of_person(
            ISSUER,
            "cli",
            "openid email",
            self.shown.append,
            sleep=self.slept.append,
            transport=httpx.MockTransport(self),
        )


def run_with(api: Api, *words: str, typed: str) -> Result:
    client = Client("http://api", "", httpx.MockTransport(api))
    return CliRunner().invoke(cli.app, list(words), obj=client, input=typed)


def found(answer: Any) -> httpx.Response:
    return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def test_the_tokens_come_once_the_person_has_entered_the_code() -> None:
    at = At("authorization_pending", "slow_down", "authorization_pending", "ok")
    assert at.tokens() == Tokens("the token", "more")
    assert at.slept == [5, 5, 10, 10]
    assert (at.forms[0]["client_id"], at.forms[0]["scope"]) == ("cli", "openid email")
    assert {each["device_code"] for each in at.forms[1:]} == {"secret"}
    (verifier,) = {each["code_verifier"] for each in at.forms[1:]}
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert (at.forms[0]["code_challenge"], at.forms[0]["code_challenge_method"]) == (challenge, "S256")
    assert at.shown[0].verification_uri == f"{ISSUER}/activate"


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (At("access_denied"), "declined"),
        (At("expired_token"), "in time"),
        (At(*["authorization_pending"] * 12), "in time"),
        (At("server_error"), "server_error"),
        (At("\x1b[2J" * 100), "refuses"),
        (At(metadata=METADATA | {"issuer": "https://evil.example"}), "says that it is"),
        (At(metadata=METADATA | {"device_authorization_endpoint": ""}), "device code"),
        (At(metadata=METADATA | {"device_authorization_endpoint": "http://evil.example/"}), "not https"),
        (At("ok", metadata=METADATA | {"token_endpoint": "ftp://x/"}), "not https"),
        (At(metadata=httpx.Response(500)), "500"),
        (At(metadata=httpx.Response(302, headers={"location": "https://evil.example"})), "302"),
        (At(metadata=httpx.Response(200, text="<html>")), "no OpenID provider"),
        (At(metadata=httpx.Response(200, content=b" " * 300_000)), "too much"),
        (At(code={"device_code": 7}), "no OpenID provider"),
    ],
)
def test_why_nobody_is_signed_in(at: At, why: str) -> None:
    with pytest.raises(CliError, match=why):
        at.tokens()


def test_a_key_is_for_its_owner_and_one_api_alone(home: Path) -> None:
    keep("http://one", ANNA)
    keep("http://two", SignedIn("ben", "2026-12-01T20:00:00Z", "vbs_other"))
    assert stat.S_IMODE(place().stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (key_for("http://one/"), key_for("http://two"), key_for("http://three")) == (
        "vbs_secret",
        "vbs_other",
        "",
    )
    place().chmod(0o644)
    keep("http://one", None)
    assert stat.S_IMODE(place().stat().st_mode) == 0o600
    assert list(kept()) == ["http://two"]
    assert [each.name for each in home.iterdir()] == ["sign-in.json"]


def test_a_file_that_is_broken_is_told(home: Path) -> None:
    home.mkdir(parents=True)
    place().write_text("{")
    with pytest.raises(CliError, match="voltbus login"):
        key_for("http://api")


def test_name_and_password_where_there_is_no_provider() -> None:
    made = {"account_id": "anna", "expires_at": "2026-12-01T20:00:00Z", "key": "vbs_secret"}
    api = Api({"GET /api/v1/sign-in": {"provider": None}, "POST /api/v1/sign-in": made})
    result = run_with(api, "login", typed="Anna\ncorrect horse battery\n")
    assert result.exit_code == 0, result.output
    assert "signed in as anna until" in result.output
    assert "vbs_secret" not in result.output
    assert "correct horse" not in result.output
    assert api.body() == {"account_id": "Anna", "password": "correct horse battery"}
    assert kept() == {"http://api": ANNA}
    # By name, the provider is not even asked for.
    api = Api({"POST /api/v1/sign-in": made})
    assert run_with(api, "login", "--account", "anna", typed="x\n").exit_code == 0


def test_what_is_refused_is_told_and_keeps_nothing() -> None:
    api = Api({"POST /api/v1/sign-in": problem(401, "the name or the password is wrong")})
    result = run_with(api, "login", "--account", "anna", typed="x\n")
    assert "the name or the password is wrong" in str(result.exception)
    assert kept() == {}


def test_signing_out_ends_the_key_and_forgets_it_in_any_case() -> None:
    keep("http://api", ANNA)
    api = Api({"POST /api/v1/sign-out": httpx.Response(204)})
    assert run(api, "logout").output == "anna signed out\n"
    assert api.asked[-1].headers["authorization"] == "Bearer vbs_secret"
    assert kept() == {}
    assert "nobody is signed in" in str(run(api, "logout").exception)
    keep("http://api", ANNA)
    run(Api({"POST /api/v1/sign-out": httpx.Response(503)}), "logout")
    assert kept() == {}


def test_a_key_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("http://127.0.0.1:9", ANNA)
    asked: list[str] = []

    def client(url: str, key: str) -> Client:
        asked.append(key)
        return Client(url, key, httpx.MockTransport(Api({"POST /api/v1/sign-out": httpx.Response(204)})))

    monkeypatch.setattr(cli, "Client", client)
    monkeypatch.setenv("VOLTBUS_API_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("VOLTBUS_API_KEY", "of the environment")
    CliRunner().invoke(cli.app, ["stations", "list"])
    monkeypatch.delenv("VOLTBUS_API_KEY")
    CliRunner().invoke(cli.app, ["stations", "list"])
    assert asked == ["of the environment", "vbs_secret"]


def test_an_account_is_linked_with_who_the_provider_calls_so() -> None:
    saved = {"account_id": "anna"}
    api = Api(
        {
            "GET /api/v1/sign-in": {"provider": {"issuer": ISSUER, "client_id": "cli", "scopes": "openid"}},
            "PATCH /api/v1/accounts/anna": saved,
        }
    )
    assert run(api, "accounts", "link", "anna", "subject-1").output == "account anna linked\n"
    assert api.body() == {"issuer": ISSUER, "subject": "subject-1"}
    run(api, "accounts", "link", "anna", "")
    assert api.body() == {"issuer": "", "subject": ""}
    nobody = Api({"GET /api/v1/sign-in": {"provider": None}})
    assert run(nobody, "accounts", "link", "anna", "subject-1").exit_code == 2
