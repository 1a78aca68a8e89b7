"""What operators do with a charger's equipment: from the API to the socket, and from the log to the API."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from libs.clickhouse.client import ClickHouseClient
from libs.events.ids import new_id
from tests.integration.api_platform import Json, Platform, api, learned, ok, problem
from tests.integration.api_platform import another as another_api
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.patience import until
from tests.unit.ocpp.csrs import csr_of
from tests.unit.provisioning.authority import Authority

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class LocalList:
    """A charger's list, as a strict charger keeps it."""

    def __init__(self, version: str) -> None:
        self.number = "versionNumber" if version != "ocpp1.6" else "listVersion"
        self.version = 0
        self.tokens: dict[str, str] = {}
        self.words: list[str] = []
        self.says: list[str] = []

    def get(self, _: Json) -> Json:
        return {self.number: self.version}

    def send(self, payload: Json) -> Json:
        full = payload["updateType"] == "Full"
        self.words.append("full" if full else "differential")
        if self.says:
            return {"status": self.says.pop(0)}
        if not full and payload[self.number] <= self.version:
            return {"status": "VersionMismatch"}
        if full:
            self.tokens.clear()
        for entry in payload.get("localAuthorizationList", ()):
            old = "idTag" in entry
            id_token = entry["idTag"] if old else entry["idToken"]["idToken"]
            info = entry.get("idTagInfo" if old else "idTokenInfo")
            if info is None:
                self.tokens.pop(id_token, None)
            else:
                self.tokens[id_token] = info["status"]
        self.version = payload[self.number]
        return {"status": "Accepted"}


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
async def test_a_local_list_follows_the_registry(api: Platform, version: str) -> None:
    station_id = f"list-{version}"
    kept = LocalList(version)
    put: dict[str, Json] = {
        f"{version}-a": {},
        f"{version}-b": {"status": "Blocked"},
        f"{version}-c": {"valid_until": "2030-01-01T00:00:00Z"},
        "t" * 40: {},
    }
    for id_token, body in put.items():
        response = await api.http.put(f"/tokens/{id_token}", json=body)
        assert response.is_success
    everything = {
        item["id_token"]: item["status"]
        for item in (await ok(await api.http.get("/tokens", params={"limit": 1000})))["items"]
        if len(item["id_token"]) <= 20
    }

    async def sync(**body: object) -> Json:
        return dict(await ok(await api.http.post(f"/stations/{station_id}/local-list/sync", json=body)))

    answers = {"GetLocalListVersion": kept.get, "SendLocalList": kept.send}
    async with (
        ledger(api),
        edge(api.settings) as process,
        device(process, station_id, answers, version) as charger,
    ):
        await online(api, station_id)
        await learned(
            api,
            station_id,
            version,
            **{"SendLocalListMaxLength": 2, "LocalAuthListCtrlr.ItemsPerMessage": 2},
        )

        async def in_parts() -> Json | None:
            kept.words.clear()
            kept.version, kept.tokens = 5, {"foreign": "Accepted"}
            found = await sync()
            return found if len(kept.words) > 1 else None

        # Somebody else's list, of whatever version, is replaced.
        first = await until(in_parts)
        assert (first["outcome"], first["why"]) == ("full", "its list is none that was sent from here")
        assert kept.words == ["full"] + ["differential"] * (len(kept.words) - 1)
        assert kept.tokens == everything
        assert first["left_out"] >= 1
        assert first["version"] == kept.version

        # From now on only what changed goes, removals included.
        await ok(await api.http.patch(f"/tokens/{version}-a", json={"status": "Blocked"}))
        assert (await api.http.delete(f"/tokens/{version}-b")).is_success

        async def by_difference() -> Json | None:
            kept.words.clear()
            found = await sync()
            return found if found["outcome"] == "differential" else None

        second = await until(by_difference)
        everything[f"{version}-a"] = "Blocked"
        del everything[f"{version}-b"]
        assert kept.tokens == everything
        assert second["version_before"] < second["version"] == kept.version
        assert "full" not in kept.words

        # VersionMismatch, or Failed, on a difference leads to a full list (1.6: 043).
        for word in ("VersionMismatch", "Failed"):
            kept.words.clear()

            async def by_full_list(word: str = word) -> Json | None:
                kept.words.clear()
                kept.says[:] = [word]
                found = await sync()
                return found if kept.words[:2] == ["differential", "full"] else None

            again = await until(by_full_list)
            assert (again["outcome"], again["why"]) == ("full", f"the charger's word: {word}")
            assert kept.tokens == everything
        forced = await sync(full=True)
        assert (forced["outcome"], forced["why"]) == ("full", "a full list was asked for")

        kept.says[:] = ["Failed"] * 2
        failed = await sync(full=True)
        assert (failed["outcome"], failed["version"]) == ("failed", None)
        kept.says.clear()
        if version == "ocpp1.6":
            kept.says[:] = ["NotSupported"]
            assert (await sync(full=True))["outcome"] == "not_supported"
            kept.version = -1
            assert (await sync())["outcome"] == "not_supported"
        del charger.answers["GetLocalListVersion"]
        assert (await sync())["outcome"] == "not_supported"


async def test_csrs_are_answered_by_whoever_signs(api: Platform) -> None:
    authority, key = Authority(), ec.generate_private_key(ec.SECP256R1())
    csr, old_csr = csr_of("csr-2", key=key), csr_of("csr-16", key=key)

    def chain_for(name: str) -> str:
        issued = authority.issue(name, key.public_key())
        return b"".join(each.public_bytes(Encoding.PEM) for each in (issued, authority.certificate)).decode()

    chain = chain_for("csr-2")
    says: list[str] = []

    def signed(_: Json) -> Json:
        return {"status": says.pop(0)}

    async def requests(**query: str) -> list[Json]:
        found = await ok(await api.http.get("/certificate-requests", params=query))
        return list(found["items"])

    async def one(station_id: str, status: str) -> Json:
        async def there() -> Json | None:
            found = await requests(station_id=station_id)
            return found[0] if found and found[0]["status"] == status else None

        return dict(await until(there))

    async with (
        ledger(api),
        edge(api.settings, certificate_desk="true") as desk,
        edge(api.settings, slot=1) as alone,
        device(desk, "csr-2", {"CertificateSigned": signed}) as charger,
        device(desk, "csr-16", {"CertificateSigned": signed}, "ocpp1.6") as old,
        device(desk, "thief", {"CertificateSigned": signed}) as thief,
        device(alone, "csr-no", {}) as declined,
    ):
        ask = {"csr": csr, "certificateType": "ChargingStationCertificate"}
        assert await declined.call("SignCertificate", ask) == {"status": "Rejected"}
        assert await charger.call("SignCertificate", ask) == {"status": "Accepted"}
        assert await old.call("SignCertificate", {"csr": old_csr}) == {"status": "Accepted"}
        assert (await thief.call("SignCertificate", ask))["status"] == "Rejected"
        await one("csr-no", "DECLINED")
        stolen = await one("thief", "DECLINED")
        assert (stolen["subject"], stolen["certificate_name"]) == ("CN=csr-2", "thief")
        assert "common name" in stolen["flaw"]
        request = await one("csr-2", "OPEN")
        old_request = await one("csr-16", "OPEN")
        assert (request["csr"], request["subject"]) == (csr, "CN=csr-2")
        assert (request["certificate_name"], request["flaw"]) == ("csr-2", None)
        states = [each["status"] for each in await requests()]
        assert states == ["OPEN", "OPEN", "DECLINED", "DECLINED"]
        assert await requests(status="OPEN", station_id="csr-no") == []
        where = f"/certificate-requests/{request['request_id']}"
        assert (await ok(await api.http.get(where)))["station_id"] == "csr-2"
        problem(await api.http.get(f"/certificate-requests/{new_id()}"), 404)

        other = authority.issue("csr-2").public_bytes(Encoding.PEM).decode()
        for wrong in (other, chain_for("csr-16")):
            refused = problem(await api.http.post(where, json={"certificate_chain": wrong}), 422)
            assert refused["errors"][0]["path"] == "/certificate_chain"
        for station_id in ("thief", "csr-16"):
            sending = f"/stations/{station_id}/commands"
            for body in (
                {"action": "CertificateSigned", "payload": {"certificateChain": chain}},
                {"command": "CertificateSigned", "payload": {"certificate_chain": chain}},
            ):
                problem(await api.http.post(sending, json=body), 422)
        assert charger.of("CertificateSigned") == old.of("CertificateSigned") == []

        says[:] = ["Rejected"]
        sent = await ok(await api.http.post(where, json={"certificate_chain": chain}))
        assert sent["command"]["status"] == "REJECTED"

        # At once, before the history shows anything of it: one more, not four.
        says[:] = ["Accepted"]
        chains = [chain, *(chain_for("csr-2") for _ in range(3))]
        async with another_api(api) as two:
            answers = await asyncio.gather(
                *(
                    asked.post(where, json={"certificate_chain": each})
                    for asked, each in zip((api.http, two) * 2, chains, strict=True)
                )
            )
        assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]
        (won,) = (number for number, each in enumerate(answers) if each.status_code == 200)
        sent = answers[won].json()
        assert sent["command"]["status"] == "ACCEPTED"
        assert charger.of("CertificateSigned")[1:] == [
            {"certificateChain": chains[won], "certificateType": "ChargingStationCertificate"}
        ]
        problem(await api.http.post(where, json={"certificate_chain": chain}), 409)
        installed = await one("csr-2", "ACCEPTED")
        assert installed["command_id"] == sent["command"]["command_id"]
        problem(await api.http.post(where, json={"certificate_chain": chain}), 409)
        assert len(charger.of("CertificateSigned")) == 2

        says[:] = ["Accepted"]
        chain = chain_for("csr-16")
        where = f"/certificate-requests/{old_request['request_id']}"
        assert (await ok(await api.http.post(where, json={"certificate_chain": chain})))["command"][
            "status"
        ] == "ACCEPTED"
        assert old.of("CertificateSigned") == [{"certificateChain": chain}]


async def test_logs_are_asked_for_and_their_uploads_followed(api: Platform) -> None:
    where = "https://logs.example.com/up/"

    def get_log(payload: Json) -> Json:
        return {"status": "Accepted", "filename": f"log-{payload['requestId']}.zip"}

    async def uploads(station_id: str, count: int) -> list[Json]:
        """The logs asked for; the command's fate and the station's words come from two topics."""

        async def there() -> list[Json] | None:
            found = (await ok(await api.http.get(f"/stations/{station_id}/logs")))["items"]
            told = found and len(found[0]["uploads"]) == count and found[0]["status"] != "PENDING"
            return found if told else None

        return list(await until(there))

    async with (
        ledger(api),
        edge(api.settings) as process,
        device(process, "logs-2", {"GetLog": get_log}) as charger,
        device(process, "logs-16", {"GetDiagnostics": lambda _: {"fileName": "diag.zip"}}, "ocpp1.6") as old,
    ):
        await online(api, "logs-2")
        await online(api, "logs-16")
        for inside in ("http://169.254.169.254/", "ftp://user:pass@example.com/", "file:///etc/passwd"):
            refused = problem(await api.http.post("/stations/logs-2/logs", json={"location": inside}), 422)
            assert refused["errors"][0]["path"] == "/location"
        assert charger.asked == []

        body = {"location": where, "log": "security", "oldest": "2026-01-01T00:00:00Z"}
        asked = await ok(await api.http.post("/stations/logs-2/logs", json=body))
        (sent,) = charger.of("GetLog")
        assert sent == {
            "requestId": asked["request_id"],
            "logType": "SecurityLog",
            "log": {"remoteLocation": where, "oldestTimestamp": "2026-01-01T00:00:00.000Z"},
        }
        assert (asked["filename"], asked["command"]["status"]) == (
            f"log-{asked['request_id']}.zip",
            "ACCEPTED",
        )
        for status in ("Uploading", "Uploaded"):
            payload = {"status": status, "requestId": asked["request_id"]}
            assert await charger.call("LogStatusNotification", payload) == {}
        await charger.call("LogStatusNotification", {"status": "Uploaded", "requestId": 1})
        (found,) = await uploads("logs-2", 2)
        assert [each["status"] for each in found["uploads"]] == ["Uploading", "Uploaded"]
        assert (found["log"], found["location"], found["status"]) == ("security", where, "ACCEPTED")

        # 1.6 without its security extension.
        asked = await ok(await api.http.post("/stations/logs-16/logs", json={"location": where}))
        assert old.of("GetDiagnostics") == [{"location": where}]
        assert (asked["filename"], asked["command"]["degraded"]) == ("diag.zip", "plain_diagnostics")
        await old.call("DiagnosticsStatusNotification", {"status": "Uploaded"})
        found, *_ = await uploads("logs-16", 1)
        assert (found["filename"], found["uploads"][0]["status"]) == ("diag.zip", "Uploaded")
        security = {"location": where, "log": "security"}
        lacking = await ok(await api.http.post("/stations/logs-16/logs", json=security))
        assert lacking["command"]["status"] == "FAILED"


async def test_a_deferred_call_and_its_answer_are_two_rows_of_the_log(api: Platform) -> None:
    client = ClickHouseClient(api.settings)

    async def rows(sql: str) -> list[Json]:
        return await asyncio.to_thread(client.rows, sql)

    async with (
        edge(api.settings, deferred="DataTransfer:1") as process,
        device(process, "pending", {}) as charger,
    ):
        assert await charger.call("DataTransfer", {"vendorId": "x"}) == {"status": "UnknownVendorId"}
        (answer,) = await until(
            lambda: rows(
                "SELECT cause_id, answer, source FROM ocpp_lifecycle WHERE _type = 'OcppCallAnswered'"
            )
        )
        (call,) = await rows(
            "SELECT event_id, outcome, answer FROM raw_messages WHERE action = 'DataTransfer'"
        )
        assert call == {"event_id": answer["cause_id"], "outcome": "PENDING", "answer": None}
        assert (answer["source"], answer["answer"]) == ("FALLBACK", '{"status":"UnknownVendorId"}')
    client.close()
