"""The command line against an API that the tests play."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from libs.tariffs.amounts import kwh, money, price
from services.cli import app as cli
from services.cli.client import Client, CliError
from services.cli.output import ampere, price_milli, printable

Json = dict[str, Any]

SESSION = {
    "session_id": "s-1",
    "station_id": "cp-1\x1b[2J",
    "evse_id": 1,
    "site_id": "[red]site[/red]",
    "status": "running",
    "started_at": "2026-05-01T10:00:00Z",
    "ended_at": None,
    "energy_wh": 12_345,
    "id_token": "card",
    "transaction_id": "7",
    "meter_start_wh": 1_000,
    "meter_wh": 13_345,
    "meter_stop_wh": None,
    "charging_state": None,
    "reason": "",
    "review": [],
    "correction": 0,
    "ocpp_version": "ocpp1.6",
    "updated_at": "2026-05-01T10:30:00Z",
}


class Api:
    """Answers by method and path; keeps what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[f"{request.method} {request.url.raw_path.decode().split('?')[0]}"]
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def body(self) -> Json:
        body: Json = json.loads(self.asked[-1].content)
        return body


def run(api: Api, *words: str, key: str = "key") -> Result:
    return CliRunner().invoke(cli.app, list(words), obj=Client("http://api", key, httpx.MockTransport(api)))


def page(*items: Json, cursor: str | None = None) -> Json:
    return {"items": list(items), "next_cursor": cursor}


def problem(status: int, detail: str, *errors: Json) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "detail": detail, "errors": list(errors)})


def test_a_list_is_a_table_that_nothing_can_break_out_of() -> None:
    result = run(Api({"GET /api/v1/sessions": page(SESSION)}), "sessions", "list", "--station", "CP-1")
    assert result.exit_code == 0, result.output
    assert "12.345" in result.output
    assert "\x1b" not in result.output
    assert "cp-1\\x1b[2J" in result.output
    assert "[red]site[/red]" in result.output


def test_a_day_is_its_first_moment() -> None:
    api = Api({"GET /api/v1/sessions": page(SESSION)})
    assert (
        run(api, "sessions", "list", "--since", "2026-05-01", "--until", "2026-05-02T10:00:00Z").exit_code
        == 0
    )
    asked = api.asked[-1].url.params
    assert (asked["since"], asked["until"]) == ("2026-05-01T00:00:00Z", "2026-05-02T10:00:00Z")


def test_json_is_what_the_api_gave() -> None:
    api = Api({"GET /api/v1/sessions": page(SESSION), "GET /api/v1/sessions/s-1": SESSION})
    assert json.loads(run(api, "sessions", "list", "--json").output) == [SESSION]
    assert json.loads(run(api, "sessions", "show", "s-1", "--json").output) == SESSION
    assert "\x1b" not in run(api, "sessions", "list", "--json").output


def test_a_list_follows_the_pages_up_to_its_limit() -> None:
    def answer(request: httpx.Request) -> Json:
        after = int(request.url.params.get("cursor", "0"))
        count = int(request.url.params["limit"])
        return page(*({"n": after + n} for n in range(count)), cursor=str(after + count))

    api = Api({"GET /api/v1/sessions": answer})
    found = json.loads(run(api, "sessions", "list", "--limit", "2300", "--json").output)
    assert [each["n"] for each in found] == list(range(2300))
    assert [request.url.params["limit"] for request in api.asked] == ["1000", "1000", "300"]


def test_an_empty_list_says_so() -> None:
    assert "no stations\n" in run(Api({"GET /api/v1/stations": page()}), "stations", "list").output
    api = Api({"GET /api/v1/cdrs": page(), "GET /api/v1/state": page()})
    said = run(api, "cdr", "list", "--since", "2026-05-01").output
    assert "no charge records that fit what was asked for\n" in said
    assert "no stations\n" in run(api, "state").output


@pytest.mark.parametrize(("version", "said"), [(0, None), (2, "1"), (3, "2")])
def test_corrections_are_counted(version: int, said: str | None) -> None:
    api = Api({"GET /api/v1/sessions/s-1": SESSION | {"correction": version}})
    lines = [line.split() for line in run(api, "sessions", "show", "s-1").output.splitlines()]
    assert [line[1] for line in lines if line[0] == "corrections"] == ([] if said is None else [said])


def test_ids_are_one_segment_of_the_path() -> None:
    api = Api({"DELETE /api/v1/tokens/DE%2F%3F%23": httpx.Response(204)})
    assert run(api, "tokens", "remove", "DE/?#").exit_code == 0


def test_only_what_is_given_is_changed() -> None:
    api = Api({"PATCH /api/v1/stations/cp": {"station_id": "cp"}, "PATCH /api/v1/sites/s": {"site_id": "s"}})
    assert run(api, "stations", "set", "cp", "--max-current", "16.5", "--require-subprotocol").exit_code == 0
    assert api.body() == {"max_current_ma": 16_500, "allow_no_subprotocol": False}
    assert run(api, "sites", "set", "s", "--limit-current", "none").exit_code == 0
    assert api.body() == {"limit_ma": None}
    assert run(api, "sites", "set", "s", "--limit-current", "much").exit_code == 2


def test_an_entry_is_added_under_its_id_with_what_is_given() -> None:
    api = Api(
        {"POST /api/v1/tokens": {"id_token": "de/1"}, "PATCH /api/v1/tokens/DE%2F1": {"id_token": "de/1"}}
    )
    assert run(api, "tokens", "add", "DE/1", "--driver", "Ann").output == "token de/1 added\n"
    assert api.body() == {"id_token": "DE/1", "driver": "Ann"}
    assert run(api, "tokens", "set", "DE/1", "--status", "Blocked").output == "token de/1 changed\n"
    assert api.body() == {"status": "Blocked"}


def test_a_price_is_given_in_the_major_unit() -> None:
    api = Api({"POST /api/v1/tariffs": {"tariff_id": "t"}})
    assert run(api, "tariffs", "add", "t", "--price", "0.4567").exit_code == 0
    assert api.body()["price_per_kwh_milli"] == 45_670
    assert run(api, "tariffs", "add", "t", "--price", "0.0000001").exit_code == 2
    assert run(api, "tariffs", "add", "t", "--price", "NaN").exit_code == 2
    assert run(api, "tariffs", "set", "t", "--currency", "JPY").exit_code == 2
    assert run(api, "tariffs", "add", "t").exit_code == 2


def test_terms_of_a_tariff_come_from_a_file_with_amounts_as_written(tmp_path: Path) -> None:
    api = Api({"POST /api/v1/tariffs": {"tariff_id": "t"}})
    file = tmp_path / "t.yaml"
    file.write_text(
        "idle_grace_s: 60\nelements:\n- price_components: [{type: TIME, price: 0.10, per: minute}]\n"
    )
    assert run(api, "tariffs", "add", "t", "--terms", str(file)).exit_code == 0
    component = {"type": "TIME", "price": "6"}
    assert api.body()["terms"] == {"elements": [{"price_components": [component]}], "idle_grace_s": 60}
    assert "price: '6'" in run(api, "tariffs", "check", str(file)).output
    file.write_text(
        "elements:\n- price_components: [{type: TIME, price: ten}]\n  restrictions: {end_time: 25}\n"
    )
    refused = run(api, "tariffs", "check", str(file))
    assert isinstance(refused.exception, CliError)
    assert "elements[0].price_components[0].price" in str(refused.exception)


COMMAND = {
    "command_id": "c",
    "station_id": "cp",
    "action": "Reset",
    "payload": {"type": "Soft"},
    "status": "ACCEPTED",
    "reason": "",
    "result": {"status": "Accepted"},
    "error": None,
    "attempts": 1,
    "requested_by": "anna",
    "requested_at": "2026-05-01T10:00:00Z",
    "expires_at": None,
    "concluded_at": "2026-05-01T10:00:01Z",
}


@pytest.mark.parametrize(
    ("status", "wait", "code"),
    [
        ("ACCEPTED", "5", 0),
        ("REJECTED", "5", 1),
        ("PENDING", "5", 1),
        ("PENDING", "0", 0),
        ("EXPIRED", "0", 1),
    ],
)
def test_a_command_s_fate_is_the_exit_status(status: str, wait: str, code: int) -> None:
    api = Api({"POST /api/v1/stations/cp/commands": COMMAND | {"status": status}})
    words = ("command", "send", "cp", "Reset", "--payload", '{"type": "Soft"}', "--wait", wait, "--ttl", "9")
    result = run(api, *words, "--idempotency-key", "k")
    assert result.exit_code == code
    assert status in result.output
    assert api.body() == {
        "action": "Reset",
        "payload": {"type": "Soft"},
        "wait_s": float(wait),
        "ttl_s": 9,
    }
    assert api.asked[-1].headers["Idempotency-Key"] == "k"


def test_a_payload_comes_from_the_line_a_file_or_standard_input(tmp_path: Any) -> None:
    path = tmp_path / "payload.json"
    path.write_text('{"a": 1}')
    api = Api({"POST /api/v1/stations/cp/commands": COMMAND})
    for payload, stdin in (('{"a": 1}', None), (f"@{path}", None), ("-", '{"a": 1}')):
        client = Client("http://api", "key", httpx.MockTransport(api))
        words = ["command", "send", "cp", "Reset", "--payload", payload, "--version-free"]
        assert CliRunner().invoke(cli.app, words, obj=client, input=stdin).exit_code == 0
        assert (api.body()["payload"], api.body()["command"]) == ({"a": 1}, "Reset")
    for payload in ("{", "[]", "@/nowhere/at/all"):
        assert run(api, "command", "send", "cp", "Reset", "--payload", payload).exit_code == 2


def test_a_campaign_takes_the_stations_of_a_site() -> None:
    started = {"campaign_id": "c", "total": 3}
    stations = page({"station_id": "b"}, {"station_id": "c"})
    api = Api({"POST /api/v1/campaigns": started, "GET /api/v1/stations": stations})
    words = ("campaigns", "start", "spring", "--to", "2.0", "--location", "https://x/y")
    assert run(api, *words, "--station", "a", "--site", "s").exit_code == 0
    assert api.body()["stations"] == ["a", "b", "c"]
    assert run(api, *words).exit_code == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (problem(401, "no"), "VOLTBUS_API_KEY"),
        (problem(404, "there is no session 's-1'"), "there is no session 's-1'"),
        (problem(422, "limit: too much", {"path": "limit", "detail": "too much"}), "limit: too much"),
        (problem(422, "two faults", {"path": "/a", "detail": "bad"}), "/a: bad"),
        (httpx.Response(502, text="<html>\x1b[2J"), "502"),
        (httpx.Response(200, text="<html>"), "not the Voltbus API"),
    ],
)
def test_errors_say_what_to_do(answer: httpx.Response, said: str) -> None:
    result = run(Api({"GET /api/v1/sessions/s-1": answer}), "sessions", "show", "s-1")
    assert isinstance(result.exception, CliError)
    assert said in str(result.exception)


def _refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def _silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("", request=request)


@pytest.mark.parametrize(("answer", "said"), [(_refused, "VOLTBUS_API_URL"), (_silent, "not known")])
def test_an_api_that_is_away_is_told(answer: Callable[[httpx.Request], httpx.Response], said: str) -> None:
    result = run(Api({"GET /api/v1/cdrs": answer}), "cdrs", "list")
    assert isinstance(result.exception, CliError)
    assert said in str(result.exception)


def test_without_a_key_nothing_is_asked() -> None:
    api = Api({})
    result = run(api, "state", key="")
    assert isinstance(result.exception, CliError)
    assert "VOLTBUS_API_KEY" in str(result.exception)
    assert not api.asked


def test_the_program_ends_with_status_1_and_a_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["voltbus", "state"])
    monkeypatch.delenv("VOLTBUS_API_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no key")


@pytest.mark.parametrize(
    "words", [("bogus",), ("stations", "add"), ("run", "bogus"), ("dlq", "list", "ocpp.transaction")]
)
def test_wrong_use_has_status_2(words: tuple[str, ...]) -> None:
    assert run(Api({}), *words).exit_code == 2


def test_watch_prints_events_and_resumes_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.cli.live.RETRY_S", 0)
    ended = {
        "recorded_at": "2026-05-01T10:00:00.000000Z",
        "station_id": "cp\x1b[2J",
        "evse_id": 1,
        "energy_wh": 1_500,
        "reason": "Local",
    }
    event = {"type": "SessionEnded", "topic": "sessions.events", "data": ended}
    wire = f": connected\n\nid: x-1\nevent: SessionEnded\ndata: {json.dumps(event)}\n\n: heartbeat\n\n"
    api = Api(
        {
            "GET /api/v1/state": page(),
            "GET /api/v1/stream": lambda _: httpx.Response(200, text=wire),
        }
    )
    result = run(api, "watch", "--type", "SessionEnded", "--type", "billing.cdrs", "--count", "2")
    assert result.exit_code == 0, result.output
    assert result.output.count("1.500 kWh, Local") == 2
    assert "\x1b[2J" not in result.output
    streams = [request for request in api.asked if request.url.path.endswith("/stream")]
    assert streams[0].url.params.get_list("type") == ["SessionEnded", "billing.cdrs"]
    assert [request.headers.get("Last-Event-ID") for request in streams] == [None, "x-1"]
    line = run(api, "watch", "--count", "1", "--json").output
    assert json.loads(line) == event


def test_values_are_shown_in_people_s_units() -> None:
    assert (kwh(1), kwh(12_345), kwh(None)) == ("0.001", "12.345", "")
    assert (ampere(16_000), ampere(6_500), ampere(0), ampere(100_000)) == ("16", "6.5", "0", "100")
    assert (money(1_234, "EUR"), money(1_234, "JPY"), money(1_234, "KWD")) == (
        "12.34 EUR",
        "1234 JPY",
        "1.234 KWD",
    )
    assert price(45_670, "EUR") == "0.4567 EUR"
    assert price_milli("0.4567", "EUR") == 45_670
    assert price_milli("40", "JPY") == 40_000
    assert printable("a\u202eb\x07\n") == "a\\x202eb\\x07\\x0a"


def test_passwords_are_asked_for_and_shown_only_when_made() -> None:
    path = "/api/v1/stations/cp-1/password"
    stands = {"station_id": "cp-1", "accepted": 1, "updated_at": "2026-05-01T10:00:00Z"}
    api = Api({f"PUT {path}": stands, f"POST {path}/rotate": stands | {"status": "ACCEPTED", "reason": ""}})
    words = ["stations", "password", "set", "cp-1"]
    client = Client("http://api", "key", httpx.MockTransport(api))
    result = CliRunner().invoke(cli.app, words, obj=client, input="a secret of mine\na secret of mine\n")
    assert result.exit_code == 0, result.output
    assert api.body() == {"password": "a secret of mine"}
    assert "secret" not in result.output
    api.answers[f"PUT {path}"] = stands | {"password": "made-for-you-1234567"}
    result = run(api, *words, "--generate")
    assert api.body() == {}
    assert "made-for-you-1234567" in result.output
    assert run(api, "stations", "password", "rotate", "cp-1", "--wait", "5").exit_code == 0
    assert api.body() == {"wait_s": 5.0}
    refused = {"status": "REJECTED", "reason": "the charger's word: Rejected"}
    api.answers[f"POST {path}/rotate"] = stands | refused
    result = run(api, "stations", "password", "rotate", "cp-1")
    assert isinstance(result.exception, CliError)


def test_a_security_profile_is_set_and_lowered_only_with_the_word_for_it() -> None:
    path = "PATCH /api/v1/stations/cp-1"
    api = Api({path: {"station_id": "cp-1"}})
    assert run(api, "stations", "set", "cp-1", "--security-profile", "2").exit_code == 0
    assert api.body() == {"security_profile": 2}
    assert run(api, "stations", "set", "cp-1", "--max-power", "150000").exit_code == 0
    assert api.body() == {"max_power_w": 150_000}
    words = ("--security-profile", "0", "--allow-security-downgrade", "--certificate-name", "SN-1")
    assert run(api, "stations", "set", "cp-1", *words, "--certification").exit_code == 0
    assert api.body() == {
        "security_profile": 0,
        "allow_security_downgrade": True,
        "certificate_name": "SN-1",
        "certification": True,
    }


def test_an_accounts_password_is_asked_for_and_never_shown() -> None:
    account = {"account_id": "anna"}
    api = Api({"POST /api/v1/accounts": account, "POST /api/v1/accounts/anna/password": None})
    client = Client("http://api", "key", httpx.MockTransport(api))
    typed = "correct horse battery\n" * 2
    words = ["accounts", "add", "anna", "--role", "operator", "--role", "engineer", "--name", "Anna"]
    result = CliRunner().invoke(cli.app, words, obj=client, input=typed)
    assert result.exit_code == 0, result.output
    assert "correct horse" not in result.output
    assert api.body() == {
        "account_id": "anna",
        "grants": [{"role": role, "organisation_id": "*"} for role in ("operator", "engineer")],
        "display_name": "Anna",
        "password": "correct horse battery",
    }
    words = ["accounts", "password", "anna"]
    assert CliRunner().invoke(cli.app, words, obj=client, input=typed).exit_code == 0
    assert api.body() == {"password": "correct horse battery"}
    assert run(api, "accounts", "add", "anna", "--no-password").exit_code == 0
    assert api.body() == {"account_id": "anna", "grants": []}
    assert run(api, "accounts", "add", "anna", "--role", "king").exit_code == 2


def test_an_account_is_disabled_enabled_and_signed_out() -> None:
    path = "/api/v1/accounts/anna%40example.org"
    account = {"account_id": "anna@example.org"}
    api = Api({f"PATCH {path}": account, f"POST {path}/sign-out": None})
    for words, disabled in ((("disable",), True), (("disable", "--undo"), False)):
        assert run(api, "accounts", *words, "anna@example.org").exit_code == 0
        assert api.body() == {"disabled": disabled}
    assert "signed out" in run(api, "accounts", "sign-out", "anna@example.org").output


def test_a_key_is_shown_once_listed_and_revoked() -> None:
    key = {
        "key_id": "k1",
        "name": "billing",
        "grants": [{"role": "viewer", "organisation_id": "*"}],
        "created_at": "2026-05-01T10:00:00Z",
        "expires_at": None,
        "revoked": False,
        "counts": True,
        "note": "export",
        "changed_by": "api",
    }
    made = {**key, "key": "vb_k1_secret"}
    api = Api({"POST /api/v1/keys": made, "GET /api/v1/keys": page(key), "DELETE /api/v1/keys/k1": key})
    words = ("keys", "add", "billing", "--role", "viewer", "--until", "2027-01-01", "--note", "export")
    assert "vb_k1_secret" in run(api, *words).output
    assert api.body() == {
        "name": "billing",
        "grants": [{"role": "viewer", "organisation_id": "*"}],
        "expires_at": "2027-01-01T00:00:00Z",
        "note": "export",
    }
    shown = run(api, "keys", "list").output
    assert "billing" in shown
    assert "viewer" in shown
    assert api.asked[-1].url.params["counts"] == "true"
    run(api, "keys", "list", "--all")
    assert "counts" not in api.asked[-1].url.params
    assert "revoked" in run(api, "keys", "revoke", "k1").output
