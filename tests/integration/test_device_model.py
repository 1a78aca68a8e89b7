"""Variables of a charger, and what is known of its device model: from the API to the socket and back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.api_platform import Json, Platform, api, learned, ok, problem
from tests.integration.device import device
from tests.integration.edge_process import edge
from tests.integration.test_api_round_trip import ledger, online
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def place(name: str) -> Json:
    component, variable = name.split(".")
    return {"component": {"name": component}, "variable": {"name": variable}}


async def test_five_variables_with_a_limit_of_four_go_as_four_and_one(api: Platform) -> None:
    names = [f"OCPPCommCtrlr.V{number}" for number in range(5)]

    def values(payload: Json) -> Json:
        asked = payload["getVariableData"]
        told = [
            {**each, "attributeStatus": "Accepted", "attributeValue": each["variable"]["name"]}
            for each in asked
        ]
        # A charger may answer in an order of its own.
        return {"getVariableResult": told[::-1]}

    def changes(payload: Json) -> Json:
        asked = payload["setVariableData"]
        told = [
            {
                "component": each["component"],
                "variable": each["variable"],
                "attributeStatus": each["attributeValue"],
            }
            for each in asked
        ]
        return {"setVariableResult": told}

    limits = {
        "DeviceDataCtrlr.ItemsPerMessage[GetVariables]": 4,
        "DeviceDataCtrlr.ItemsPerMessage[SetVariables]": 4,
    }
    async with (
        ledger(api),
        edge(api.settings) as process,
        device(process, "vars-2", {"GetVariables": values, "SetVariables": changes}) as charger,
    ):
        await online(api, "vars-2")
        await learned(api, "vars-2", "ocpp2.0.1", **limits)

        async def four_and_one() -> Json | None:
            charger.asked.clear()
            body = {"variables": [{"name": name} for name in names]}
            found = await ok(await api.http.post("/stations/vars-2/variables/get", json=body))
            # Until the ledger has learned the limit all of it goes at once.
            return found if len(charger.asked) > 1 else None

        found = await until(four_and_one)
        assert [len(payload["getVariableData"]) for payload in charger.of("GetVariables")] == [4, 1]
        assert [(each["name"], each["status"], each["value"]) for each in found["items"]] == [
            (name, "Accepted", name.removeprefix("OCPPCommCtrlr.")) for name in names
        ]
        assert [each["status"] for each in found["commands"]] == ["ACCEPTED"]

        words = ["Accepted", "RebootRequired", "Rejected", "Accepted", "UnknownVariable"]
        body = {"variables": [{"name": n, "value": w} for n, w in zip(names, words, strict=True)]}
        changed = await ok(await api.http.post("/stations/vars-2/variables/set", json=body))
        assert [len(payload["setVariableData"]) for payload in charger.of("SetVariables")] == [4, 1]
        assert [each["status"] for each in changed["items"]] == words
        assert [each["status"] for each in changed["commands"]] == ["REJECTED"]

        wrong = {"variables": [{"name": names[0]}, {"name": "NoComponent"}]}
        refused = problem(await api.http.post("/stations/vars-2/variables/get", json=wrong), 422)
        assert refused["errors"][0]["path"] == "/variables/1"
        problem(await api.http.post("/stations/vars-2/variables/get", json={}), 422)
        problem(await api.http.post("/stations/nobody/variables/get", json=body), 422)
        problem(await api.http.post("/stations/nobody/variables/set", json=body), 404)


async def test_keys_of_1_6_are_read_together_and_changed_one_by_one(api: Platform) -> None:
    keys = {"HeartbeatInterval": "300", "NumberOfConnectors": "2", "AuthorizationKey": "0011"}

    def configuration(payload: Json) -> Json:
        asked = payload.get("key", list(keys))
        known = [
            {"key": key, "readonly": key == "NumberOfConnectors", "value": keys[key]}
            for key in asked
            if key in keys
        ]
        return {"configurationKey": known, "unknownKey": [key for key in asked if key not in keys]}

    def change(payload: Json) -> Json:
        return {"status": "Rejected" if payload["key"] == "NumberOfConnectors" else "Accepted"}

    async with (
        ledger(api),
        edge(api.settings) as process,
        device(
            process, "vars-16", {"GetConfiguration": configuration, "ChangeConfiguration": change}, "ocpp1.6"
        ) as charger,
    ):
        await online(api, "vars-16")
        await learned(api, "vars-16", "ocpp1.6", GetConfigurationMaxKeys=2)
        # By the names of either version.
        asked = ["NumberOfConnectors", "OCPPCommCtrlr.HeartbeatInterval", "Nonsense"]
        body = {"variables": [{"name": name} for name in asked]}

        async def two_and_one() -> Json | None:
            charger.asked.clear()
            found = await ok(await api.http.post("/stations/vars-16/variables/get", json=body))
            return found if len(charger.asked) > 1 else None

        found = await until(two_and_one)
        assert charger.of("GetConfiguration") == [
            {"key": ["NumberOfConnectors", "HeartbeatInterval"]},
            {"key": ["Nonsense"]},
        ]
        assert [(e["name"], e["status"], e["value"], e["read_only"]) for e in found["items"]] == [
            ("NumberOfConnectors", "Accepted", "2", True),
            ("OCPPCommCtrlr.HeartbeatInterval", "Accepted", "300", False),
            ("Nonsense", "UnknownVariable", None, None),
        ]
        body = {
            "variables": [
                {"name": "NumberOfConnectors", "value": "3"},
                {"name": "HeartbeatInterval", "value": "60"},
            ]
        }
        changed = await ok(await api.http.post("/stations/vars-16/variables/set", json=body))
        assert charger.of("ChangeConfiguration") == [
            {"key": "NumberOfConnectors", "value": "3"},
            {"key": "HeartbeatInterval", "value": "60"},
        ]
        assert [each["status"] for each in changed["items"]] == ["Rejected", "Accepted"]

        everything = await ok(await api.http.post("/stations/vars-16/variables/get", json={}))
        told_keys = {each["name"]: each["value"] for each in everything["items"]}
        # What is a secret is not in the log, and so not here.
        assert told_keys == keys | {"AuthorizationKey": "***"}

        async def told() -> dict[str, Any] | None:
            model = await ok(await api.http.get("/stations/vars-16/device-model"))
            found = {item["variable"]: item for item in model["items"]}
            return found if "AuthorizationKey" in found else None

        model = await until(told)
        number = model["NumberOfConnectors"]
        assert (number["value"], number["mutability"], number["component"]) == ("2", "ReadOnly", "")
        assert model["AuthorizationKey"]["value"] is None


async def test_a_device_model_is_made_of_all_parts_of_its_reports(api: Platform) -> None:
    def part(seq_no: int, more: bool, *items: tuple[str, str]) -> Json:
        data = [
            {**place(name), "variableAttribute": [{"value": value, "mutability": "ReadOnly"}]}
            for name, value in items
        ]
        return {
            "requestId": 7,
            "seqNo": seq_no,
            "tbc": more,
            "generatedAt": "2026-01-01T00:00:00Z",
            "reportData": data,
        }

    async with edge(api.settings) as process, device(process, "model-2", {}) as charger:

        async def model(**query: str) -> Json:
            return dict(await ok(await api.http.get("/stations/model-2/device-model", params=query)))

        async def reported(parts: int) -> Json | None:
            found = await model()
            return found if found["reports"] and found["reports"][0]["parts"] == parts else None

        await charger.call("NotifyReport", part(2, False, ("EVSE.Power", "11000")))
        await charger.call("NotifyReport", part(0, True, ("EVSE.Available", "true"), ("Clock.Time", "noon")))
        found = await until(lambda: reported(2))
        assert found["reports"][0]["complete"] is False
        await charger.call("NotifyReport", part(1, True, ("Clock.Time", "one")))
        found = await until(lambda: reported(3))
        assert [(r["request_id"], r["complete"]) for r in found["reports"]] == [(7, True)]
        assert [(i["component"], i["variable"], i["attribute"], i["value"]) for i in found["items"]] == [
            ("Clock", "Time", "Actual", "one"),
            ("EVSE", "Available", "Actual", "true"),
            ("EVSE", "Power", "Actual", "11000"),
        ]
        assert [i["variable"] for i in (await model(component="EVSE", variable="Power"))["items"]] == [
            "Power"
        ]
        assert (await ok(await api.http.get("/stations/model-none/device-model")))["items"] == []
