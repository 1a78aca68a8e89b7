"""Secrets are known by their kind, whatever a maker calls them, and stand in no record in clear."""

from __future__ import annotations

import random
import re
import string
import time
from typing import Any

import orjson
import pytest

from libs.ocpp.secrets import (
    MASK,
    kept_payload,
    shown_frame,
    told_without_secrets,
    with_secrets_changed,
    without_secrets,
)
from libs.ocpp.versions import Version
from services.api.domain.errors import Invalid
from services.api.domain.wish import ocpp_wish, version_free_wish

SECRET = "hunter2-hunter2-hunter2"
NAMES = [
    "AuthorizationKey",
    "BasicAuthPassword",
    "StationPassword",
    "WifiPassword",
    "wifi_psk",
    "WPA2-PSK",
    "WiFiKey",
    "VpnKey",
    "ApnPassword",
    "SimPin",
    "AdminPasswd",
    "API_KEY",
    "PrivateKey",
    "ClientSecret",
    "AccessToken",
    "MasterPassphrase",
    "SecurityCtrlr.BasicAuthPassword[2]",
]
PLAIN = [
    "HeartbeatInterval",
    "AuthorizeRemoteTxRequests",
    "AuthorizationCacheEnabled",
    "PasswordLength",
    "BasicAuthPasswordEnabled",
    "GetConfigurationMaxKeys",
    "NetworkConfigurationPriority",
    "IdTokenCacheSize",
    "CompassDirection",
    "Passthrough",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_makers_own_secret_is_sealed_and_masked_wherever_it_goes(name: str) -> None:
    def sealed(value: str) -> str:
        return f"sealed:1:{len(value)}"

    commands: list[tuple[str, dict[str, Any]]] = [
        ("ChangeConfiguration", {"key": name, "value": SECRET}),
        ("SetVariables", {"values": [{"name": name, "value": SECRET}]}),
        ("SetVariables", {"setVariableData": [{"variable": {"name": name}, "attributeValue": SECRET}]}),
        ("DataTransfer", {"vendorId": "v", "data": orjson.dumps({name: SECRET}).decode()}),
        ("DataTransfer", {"vendorId": "v", "data": f"{name}={SECRET}"}),
        ("DataTransfer", {"vendorId": "v", "messageId": f"Set{name}", "data": SECRET}),
        ("DataTransfer", {"vendorId": "v", "data": {"config": [{"key": name, "value": SECRET}]}}),
        ("DataTransfer", {"vendorId": "v", "data": {name: SECRET}}),
    ]
    for action, payload in commands:
        changed = with_secrets_changed(action, payload, sealed)
        assert SECRET not in repr(changed), (action, payload)
        # The edge finds again what the API has sealed.
        seen: list[str] = []

        def opened(value: str, seen: list[str] = seen) -> str:
            seen.append(value)
            return value

        with_secrets_changed(action, changed, opened)
        assert [value for value in seen if value.startswith("sealed:1:")], (action, changed)
    for action, result in (
        ("GetConfiguration", {"configurationKey": [{"key": name, "value": SECRET}]}),
        ("GetVariables", {"getVariableResult": [{"variable": {"name": name}, "attributeValue": SECRET}]}),
        ("DataTransfer", {"status": "Accepted", "data": f'{{"{name}": "{SECRET}"}}'}),
        ("DataTransfer", {"status": "Accepted", "data": f"{name}: {SECRET}"}),
    ):
        assert SECRET not in repr(without_secrets(action, result)), (action, result)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_station_tells_of_its_secrets_is_masked_in_what_is_kept(name: str) -> None:
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": name}}
    attributes = [{"type": "Actual", "value": SECRET, "mutability": "WriteOnly"}]
    for action, payload in (
        ("DataTransfer", {"vendorId": "v", "data": orjson.dumps({name: SECRET}).decode()}),
        ("DataTransfer", {"vendorId": "v", "data": f"a=1&{name}={SECRET}&b=2"}),
        ("DataTransfer", {"vendorId": "v", "data": f"the {name} is {SECRET}"}),
        ("DataTransfer", {"vendorId": "v", "messageId": name, "data": SECRET}),
        ("DataTransfer", {"vendorId": "v", "data": {"list": [{"key": name, "value": SECRET}]}}),
        ("NotifyReport", {"requestId": 1, "reportData": [{**variable, "variableAttribute": attributes}]}),
        ("NotifyEvent", {"eventData": [{**variable, "eventId": 1, "actualValue": SECRET}]}),
        ("SecurityEventNotification", {"type": "x", "techInfo": f"{name}={SECRET}"}),
    ):
        kept = kept_payload(action, orjson.dumps(payload).decode())
        assert SECRET not in kept, (action, payload)
        told = orjson.loads(kept)
        assert told.keys() == payload.keys()
    report = orjson.loads(
        kept_payload(
            "NotifyReport",
            orjson.dumps({"reportData": [{**variable, "variableAttribute": attributes}]}).decode(),
        )
    )
    (attribute,) = report["reportData"][0]["variableAttribute"]
    assert attribute == {"type": "Actual", "value": MASK, "mutability": "WriteOnly"}


@pytest.mark.parametrize("name", PLAIN)
def test_what_only_sounds_like_one_is_kept(name: str) -> None:
    result = {"configurationKey": [{"key": name, "value": "60"}]}
    assert without_secrets("GetConfiguration", result) == result
    payload = orjson.dumps(
        {"reportData": [{"variable": {"name": name}, "variableAttribute": [{"value": "60"}]}]}
    ).decode()
    assert orjson.loads(kept_payload("NotifyReport", payload)) == orjson.loads(payload)


def test_other_messages_are_kept_as_they_came() -> None:
    for action in ("MeterValues", "StatusNotification", "BootNotification"):
        text = '{ "vendorErrorCode":"password=1" }'
        assert kept_payload(action, text) is text
    text = '{"vendorId" : "v", "data":"soc=5"}'
    assert kept_payload("DataTransfer", text) is text
    event = '{"type": "FailedToAuthenticateAtCsms", "techInfo": "wrong password, attempt 3"}'
    assert orjson.loads(kept_payload("SecurityEventNotification", event)) == orjson.loads(event)


def test_a_makers_secret_in_a_useless_frame_is_not_kept() -> None:
    assert shown_frame(b'[2,"a","DataTransfer",{"data":"WifiPassword=' + SECRET.encode(), 4096) == '[2,"a"'


@pytest.mark.parametrize("secret", ["x9" * 30, "y8" * 300])
def test_a_secret_that_is_wrong_is_not_repeated_in_the_error(secret: str) -> None:
    key = {"key": "AuthorizationKey"}
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    wishes: list[tuple[Version, str, dict[str, Any]]] = [
        (Version.V16, "ChangeConfiguration", {**key, "value": secret * 9}),
        (Version.V16, "ChangeConfiguration", {**key, "value": secret, "more": 1}),
        (Version.V16, "ChangeConfiguration", {**key, "value": 987654321}),
        (Version.V16, "ChangeConfiguration", {"key": "WifiPassword", "value": secret * 9}),
        (Version.V201, "SetVariables", {"setVariableData": [{**variable, "attributeValue": secret * 40}]}),
        (Version.V201, "SetVariables", {"setVariableData": [{**variable, "attributeValue": 987654321}]}),
    ]
    for version, action, payload in wishes:
        with pytest.raises(Invalid) as error:
            ocpp_wish(version, action, payload)
        assert secret not in error.value.detail
        assert "987654321" not in error.value.detail
        assert error.value.detail.startswith(f"{action} of {version}: ")
    with pytest.raises(Invalid) as error:
        version_free_wish(
            Version.V16, "SetVariables", {"values": [{"name": "AuthorizationKey", "value": secret * 9}]}
        )
    assert secret not in error.value.detail
    assert told_without_secrets("ChangeConfiguration", {**key, "value": secret})["value"] == "*" * len(secret)


def test_the_words_are_found_wherever_they_stand_and_however_they_are_written() -> None:
    plain = re.compile(
        r"pass[_\- ]?(?:word|wd|phrase|code)|secret|credential|(?<![a-z])psk|psk(?![a-z])"
        r"|(?:authori[sz]ation|auth|private|shared|access|api|encryption|vpn|wi-?fi|wlan|wep|wpa)[_\- ]?key"
        r"|access[_\- ]?token|sim[_\- ]?pin",
        re.IGNORECASE,
    )
    parts = [*re.findall("[a-z]+", "authorisation authorization wi fi key token pin x"), *'_- ="1']
    parts += re.findall("[a-z]{2,}", plain.pattern)
    maker = random.Random(7)
    for _ in range(20_000):
        chosen = maker.choices(parts, k=maker.randint(1, 5))
        text = "".join(part.upper() if maker.random() < 0.2 else part for part in chosen)
        assert (shown_frame(text.encode(), 99) == "") is (plain.search(text) is not None), text


def test_looking_for_secrets_takes_linear_time() -> None:
    maker = random.Random(7)

    def cost(size: int) -> float:
        texts = [
            "password" * (size // 8),
            "password=" * (size // 9),
            "".join(maker.choices(string.ascii_letters + " _-=:", k=size)),
            "pass_" * (size // 5),
            "psk" + "a" * size,
        ]
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            for text in texts:
                kept_payload("DataTransfer", orjson.dumps({"data": text}).decode())
            best = min(best, time.process_time() - began)
        return best

    # Eight times as much, and by far not sixty-four times as long.
    assert cost(200_000) < 30 * max(cost(25_000), 1e-3)
