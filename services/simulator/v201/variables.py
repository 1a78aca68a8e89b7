"""Chargers that speak OCPP 2.0.1: their variables (B05 to B07)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocpp.v201 import call_result

from services.simulator.commands import CommonCommands
from services.simulator.link import Message
from services.simulator.rpc import Rpc201, handles
from services.simulator.v201.reports import Charger201

MAX_STACK_LEVEL = 10
ITEMS_PER_MESSAGE = 4
# What the variables of a base report look like; (component, variable) -> data type.
WRITABLE = {
    ("OCPPCommCtrlr", "HeartbeatInterval"): "integer",
    ("SampledDataCtrlr", "TxUpdatedInterval"): "integer",
    ("AuthCtrlr", "AuthorizeRemoteStart"): "boolean",
}


class Variables201(CommonCommands[Charger201], Rpc201):
    """Handlers of the calls about variables and reports; the other commands build on it."""

    results = call_result

    def _variables(self) -> dict[tuple[str, str], str]:
        charger = self.charger
        return {
            ("OCPPCommCtrlr", "HeartbeatInterval"): str(charger.heartbeat_s),
            ("SampledDataCtrlr", "TxUpdatedInterval"): str(charger.sample_interval_s),
            ("AuthCtrlr", "AuthorizeRemoteStart"): str(charger.authorize_remote).lower(),
            ("ChargingStation", "Model"): charger.make.model,
            ("ChargingStation", "VendorName"): charger.make.vendor,
            ("ChargingStation", "FirmwareVersion"): charger.firmware,
            ("DeviceDataCtrlr", "ItemsPerMessage"): str(ITEMS_PER_MESSAGE),
            ("SmartChargingCtrlr", "ProfileStackLevel"): str(MAX_STACK_LEVEL),
            ("SmartChargingCtrlr", "RateUnit"): "A,W",
        }

    @handles("GetVariables")
    def _on_get_variables(self, get_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        known = self._variables()
        results = []
        for asked in get_variable_data:
            key = asked["component"]["name"], asked["variable"]["name"]
            result = {"component": asked["component"], "variable": asked["variable"]}
            if asked.get("attribute_type", "Actual") != "Actual":
                result["attribute_status"] = "NotSupportedAttributeType"
            elif key in known:
                result |= {"attribute_status": "Accepted", "attribute_value": known[key]}
            else:
                result["attribute_status"] = _unknown(key, known)
            results.append(result)
        return call_result.GetVariables(get_variable_result=results)

    @handles("SetVariables")
    def _on_set_variables(self, set_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        known = self._variables()
        results = []
        for asked in set_variable_data:
            key = asked["component"]["name"], asked["variable"]["name"]
            if asked.get("attribute_type", "Actual") != "Actual":
                status = "NotSupportedAttributeType"
            elif key not in known:
                status = _unknown(key, known)
            else:
                status = "Accepted" if self._set(key, asked["attribute_value"]) else "Rejected"
            results.append(
                {
                    "component": asked["component"],
                    "variable": asked["variable"],
                    "attribute_status": status,
                }
            )
        return call_result.SetVariables(set_variable_result=results)

    def _set(self, key: tuple[str, str], value: str) -> bool:
        """Set a variable; False when it is read-only or the value is none of its type."""
        charger, kind = self.charger, WRITABLE.get(key)
        if kind == "boolean" and value in ("true", "false"):
            charger.authorize_remote = value == "true"
        elif kind == "integer" and value.isdigit() and int(value) > 0:
            if key[1] == "HeartbeatInterval":
                charger.heartbeat_s = int(value)
            else:
                charger.sample_interval_s = int(value)
        else:
            return False
        return True

    @handles("GetBaseReport")
    def _on_get_base_report(self, request_id: int, **_: Any) -> Any:
        self.after.append(lambda: self.charger.spawn(self._report(request_id, list(self._variables()))))
        return call_result.GetBaseReport(status="Accepted")

    @handles("GetReport")
    def _on_get_report(
        self, request_id: int, component_variable: list[dict[str, Any]] | None = None, **_: Any
    ) -> Any:
        wanted = {
            (entry["component"]["name"], entry.get("variable", {}).get("name"))
            for entry in component_variable or []
        }
        keys = [key for key in self._variables() if not wanted or key in wanted or (key[0], None) in wanted]
        if not keys:
            return call_result.GetReport(status="EmptyResultSet")
        self.after.append(lambda: self.charger.spawn(self._report(request_id, keys)))
        return call_result.GetReport(status="Accepted")

    async def _report(self, request_id: int, keys: list[tuple[str, str]]) -> None:
        for number, message in enumerate(self._report_messages(request_id, keys)):
            message.payload["seqNo"] = number
            await self.charger.tell(message)

    def _report_messages(self, request_id: int, keys: list[tuple[str, str]]) -> Iterator[Message]:
        values = self._variables()
        for first in range(0, len(keys), ITEMS_PER_MESSAGE):
            part = keys[first : first + ITEMS_PER_MESSAGE]
            yield Message(
                "NotifyReport",
                {
                    "requestId": request_id,
                    "generatedAt": self.charger.time(self.charger.clock.now_us()),
                    "tbc": first + ITEMS_PER_MESSAGE < len(keys),
                    "reportData": [
                        {
                            "component": {"name": component},
                            "variable": {"name": variable},
                            "variableAttribute": [
                                {
                                    "value": values[component, variable],
                                    "mutability": (
                                        "ReadWrite" if (component, variable) in WRITABLE else "ReadOnly"
                                    ),
                                }
                            ],
                            "variableCharacteristics": {
                                "dataType": WRITABLE.get((component, variable), "string"),
                                "supportsMonitoring": False,
                            },
                        }
                        for component, variable in part
                    ],
                },
            )


def _unknown(key: tuple[str, str], known: dict[tuple[str, str], str]) -> str:
    return "UnknownVariable" if any(component == key[0] for component, _ in known) else "UnknownComponent"
