"""Commands about chargers' equipment against an API that the tests play."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_cli import Api, Json, problem, run

AT = "2026-05-01T10:00:00Z"
SAID = {"command_id": "c", "action": "GetVariables", "status": "ACCEPTED", "reason": "", "degraded": None}


def variables(*items: Json, **said: Any) -> Json:
    return {"station_id": "cp-1", "version": "ocpp2.0.1", "items": list(items), "commands": [SAID | said]}


def variable(name: str, status: str | None, value: str | None = None) -> Json:
    return {
        "name": name,
        "evse_id": None,
        "connector_id": None,
        "status": status,
        "value": value,
        "read_only": None,
    }


def test_variables_are_asked_for_and_changed() -> None:
    path = "POST /api/v1/stations/cp-1/variables"
    client = Api({f"{path}/get": variables(variable("A.B", "Accepted", "7\x1b[2J"))})
    found = run(client, "stations", "get-variables", "cp-1", "A.B", "--evse", "2")
    assert found.exit_code == 0, found.output
    assert "\\x1b" in found.output
    assert client.body()["variables"] == [{"name": "A.B", "evse_id": 2}]

    client = Api({f"{path}/set": variables(variable("A.B", "Accepted"), variable("C.D", "Rejected"))})
    refused = run(client, "stations", "set-variables", "cp-1", "A.B=1=2", "C.D=")
    assert refused.exit_code == 1
    assert client.body()["variables"] == [{"name": "A.B", "value": "1=2"}, {"name": "C.D", "value": ""}]
    assert run(client, "stations", "set-variables", "cp-1", "A.B").exit_code == 2

    silent = Api({f"{path}/get": variables(variable("A.B", None), status="EXPIRED", reason="not connected")})
    nothing = run(silent, "stations", "get-variables", "cp-1", "A.B")
    assert nothing.exit_code == 1
    assert "not connected" in nothing.output


def test_a_device_model_is_a_table() -> None:
    item = {
        "component": "EVSE",
        "component_instance": "",
        "evse_id": 1,
        "connector_id": 0,
        "variable": "Power",
        "variable_instance": "Max",
        "attribute": "Actual",
        "value": "11000",
        "mutability": "ReadOnly",
        "source": "NotifyReport",
        "at": AT,
    }
    report = {"request_id": 7, "parts": 2, "complete": False, "updated_at": AT}
    client = Api({"GET /api/v1/stations/cp-1/device-model": {"items": [item], "reports": [report]}})
    found = run(client, "stations", "device-model", "cp-1", "--component", "EVSE")
    assert found.exit_code == 0, found.output
    assert "Power[Max]" in found.output
    assert "report 7: 2 parts so far" in found.output
    assert dict(client.asked[0].url.params) == {"component": "EVSE"}


@pytest.mark.parametrize(
    ("outcome", "status"), [("full", 0), ("up_to_date", 0), ("not_supported", 1), ("failed", 1)]
)
def test_a_local_list_is_synced(outcome: str, status: int) -> None:
    done = {"outcome": outcome, "why": "because", "sent": 3, "version": 9, "left_out": 1}
    client = Api({"POST /api/v1/stations/cp-1/local-list/sync": done})
    found = run(client, "stations", "sync-list", "cp-1", "--full")
    assert found.exit_code == status
    assert "because" in found.output
    assert client.body()["full"] is True


def test_logs_are_asked_for_and_listed() -> None:
    asked = {"request_id": 5, "filename": "log.zip", "command": SAID | {"action": "GetLog"}}
    entry = {
        "requested_at": AT,
        "log": "security",
        "status": "ACCEPTED",
        "uploads": [{"status": "Uploading", "at": AT}, {"status": "Uploaded", "at": AT}],
        "filename": "log.zip",
        "location": "https://logs.example.com/",
    }
    client = Api(
        {
            "POST /api/v1/stations/cp-1/logs": asked,
            "GET /api/v1/stations/cp-1/logs": {"items": [entry]},
        }
    )
    words = ("stations", "ask-log", "cp-1", "https://logs.example.com/", "--log", "security", "--oldest", AT)
    assert run(client, *words).exit_code == 0
    assert client.body() | {"timeout_s": 0} == {
        "location": "https://logs.example.com/",
        "log": "security",
        "oldest": AT,
        "timeout_s": 0,
    }
    listed = run(client, "stations", "logs", "cp-1")
    assert "Uploaded" in listed.output
    refused = Api({"POST /api/v1/stations/cp-1/logs": problem(422, "the URL holds credentials")})
    assert run(refused, *words).exit_code == 1


def test_csrs_are_listed_printed_and_answered(tmp_path: Path) -> None:
    request = {
        "request_id": "r-1",
        "station_id": "cp-1",
        "subject": None,
        "certificate_name": "sn-4711",
        "flaw": "the CSR cannot be read",
        "certificate_type": "ChargingStationCertificate",
        "csr": "-----BEGIN\n\x1b[2Jabc",
        "status": "OPEN",
        "requested_at": AT,
    }
    said = SAID | {"action": "CertificateSigned", "status": "REJECTED", "reason": "no"}
    client = Api(
        {
            "GET /api/v1/certificate-requests": {"items": [request]},
            "GET /api/v1/certificate-requests/r-1": request,
            "POST /api/v1/certificate-requests/r-1": {"command": said},
        }
    )
    listed = run(client, "certificates", "list", "--status", "OPEN")
    for seen in ("not readable", "sn-4711", "cannot be read"):
        assert seen in " ".join(listed.output.split())
    assert dict(client.asked[0].url.params) == {"status": "OPEN", "limit": "100"}
    shown = run(client, "certificates", "csr", "r-1")
    assert "\x1b" not in shown.output
    chain = tmp_path / "chain.pem"
    chain.write_text("pem")
    refused = run(client, "certificates", "send", "r-1", str(chain))
    assert (refused.exit_code, client.body()["certificate_chain"]) == (1, "pem")
    assert run(client, "certificates", "send", "r-1", str(tmp_path / "none.pem")).exit_code == 2
