"""Passwords of stations: their forms on the wire, and where messages carry them."""

from __future__ import annotations

from typing import Any

import pytest

from libs.ocpp import schemas
from libs.ocpp.passwords import password_command, password_digest, readings
from libs.ocpp.secrets import MASK, shown_frame, with_secrets_changed, without_secrets
from libs.ocpp.versions import Version

SALT = "5f1d0c7a9b3e48d2a6c4e8f00b1d2c3a"


def item(component: str, variable: str, **fields: Any) -> dict[str, Any]:
    return {"component": {"name": component}, "variable": {"name": variable}, **fields}


def test_a_digest_is_hmac_sha_256() -> None:
    assert password_digest(SALT, b"correct horse battery") == (
        "cc3bcf48224ffd3aae2c5b58d13ff23e6adf28d2ec1fe93075e3ea9c04ad85e4"
    )
    with pytest.raises(ValueError, match="hexadecimal"):
        password_digest("zz", b"x")


def test_hex_digits_may_stand_for_bytes() -> None:
    assert readings(b"00fF") == (b"00fF", b"\x00\xff")
    for sent in (b"", b"abc", b"xyz!", b"\xff\xfe"):
        assert readings(sent)[0] == sent
        assert len(readings(sent)) == 2


@pytest.mark.parametrize("version", list(Version))
def test_the_command_that_sets_a_password_conforms(version: Version) -> None:
    action, payload = password_command(version, b"abcdefgh-12345678")
    assert schemas.validate(version, action, "request", payload) is None
    seen: list[str] = []

    def noted(secret: str) -> str:
        seen.append(secret)
        return "sealed"

    changed = with_secrets_changed(action, payload, noted)
    assert seen == [b"abcdefgh-12345678".hex().upper() if version is Version.V16 else "abcdefgh-12345678"]
    assert "abcdefgh" not in repr(changed)
    assert schemas.validate(version, action, "request", changed) is None


def test_what_a_version_cannot_say_is_an_error() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        password_command(Version.V16, b"x" * 21)
    with pytest.raises(ValueError, match="text"):
        password_command(Version.V201, b"\xff" * 20)


def test_only_passwords_are_changed() -> None:
    def masked(_: str) -> str:
        return MASK

    for key, value in [("AuthorizationKey", MASK), ("authorizationkey", MASK), ("HeartbeatInterval", "60")]:
        payload = {"key": key, "value": "60"}
        assert with_secrets_changed("ChangeConfiguration", payload, masked)["value"] == value
    variables = [
        item("SecurityCtrlr", "BasicAuthPassword", attributeValue="s"),
        item("SecurityCtrlr", "Identity", attributeValue="s"),
    ]
    changed = with_secrets_changed("SetVariables", {"setVariableData": variables}, masked)
    assert [each["attributeValue"] for each in changed["setVariableData"]] == [MASK, "s"]
    values = [
        {"name": "AuthorizationKey", "value": "s"},
        {"name": "SecurityCtrlr.BasicAuthPassword", "value": "s"},
        {"name": "HeartbeatInterval", "value": "s"},
    ]
    changed = with_secrets_changed("SetVariables", {"values": values}, masked)
    assert [each["value"] for each in changed["values"]] == [MASK, MASK, "s"]
    assert with_secrets_changed("Reset", {"type": "Soft"}, masked) == {"type": "Soft"}
    profile = {
        "ocppCsmsUrl": "wss://csms.example.org",
        "basicAuthPassword": "s",
        "apn": {"apn": "a", "apnUserName": "u", "apnPassword": "s"},
        "vpn": {"server": "v", "user": "u", "password": "s", "key": "s", "type": "IPSec"},
    }
    changed = with_secrets_changed(
        "SetNetworkProfile", {"configurationSlot": 1, "connectionData": profile}, masked
    )
    assert changed["configurationSlot"] == 1
    assert changed["connectionData"] == {
        "ocppCsmsUrl": "wss://csms.example.org",
        "basicAuthPassword": MASK,
        "apn": {"apn": "a", "apnUserName": "u", "apnPassword": MASK},
        "vpn": {"server": "v", "user": "u", "password": MASK, "key": MASK, "type": "IPSec"},
    }


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("ChangeConfiguration", {"key": "AuthorizationKey"}),
        ("ChangeConfiguration", {"key": "AuthorizationKey", "value": 5}),
        ("SetVariables", {"setVariableData": [5, {"variable": {}}, {"component": {}}]}),
        ("SetVariables", {"values": [None, {"name": "AuthorizationKey"}]}),
        ("SetNetworkProfile", {"connectionData": [1]}),
        ("SetNetworkProfile", {"connectionData": {"vpn": 5, "apn": None}}),
        ("SetNetworkProfile", {}),
    ],
)
def test_what_breaks_the_schema_is_left_to_it(action: str, payload: dict[str, Any]) -> None:
    assert with_secrets_changed(action, payload, lambda _: MASK) == payload


def test_what_a_station_should_never_tell_is_masked() -> None:
    keys = [{"key": "AuthorizationKey", "value": "s"}, {"key": "Other", "value": "s"}, "odd"]
    told = without_secrets("GetConfiguration", {"configurationKey": keys})
    assert told["configurationKey"] == [{"key": "AuthorizationKey", "value": MASK}, *keys[1:]]
    found = [item("SecurityCtrlr", "BasicAuthPassword", attributeValue="s"), {"component": 5}, "odd"]
    told = without_secrets("GetVariables", {"getVariableResult": found})
    assert told["getVariableResult"] == [
        item("SecurityCtrlr", "BasicAuthPassword", attributeValue=MASK),
        *found[1:],
    ]
    assert without_secrets("GetConfiguration", {"configurationKey": 5}) == {"configurationKey": 5}


def test_a_password_is_masked_in_whatever_form_it_is_told() -> None:
    key = {"key": " authorizationkey", "readonly": False, "value": "s3cret"}
    for told in (
        {"configurationKey": key},
        {"configurationKey": {"0": key}},
        {"configurationKey": [[key]]},
        {"configurationKey": {"AuthorizationKey": "s3cret"}},
        {"configurationKey": [key | {"value": ["s3cret"]}], "unknownKey": []},
        {"AuthorizationKey": "s3cret"},
    ):
        assert "s3cret" not in repr(without_secrets("GetConfiguration", told))
    variable = item("SecurityCtrlr", "BasicAuthPassword", attributeValue="s3cret")
    for found in (
        {"getVariableResult": variable},
        {"getVariableResult": [{"variable": "BasicAuthPassword", "attributeValue": "s3cret"}]},
        {"getVariableResult": [item("NetworkConfiguration", "VpnKey", attributeValue="s3cret")]},
        {"setVariableResult": variable},
    ):
        assert "s3cret" not in repr(without_secrets("GetVariables", found))
        assert "s3cret" not in repr(without_secrets("SetVariables", found))
    one = {"configurationKey": {"key": "HeartbeatInterval", "value": "60"}}
    assert without_secrets("GetConfiguration", one) == one
    unset = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False}]}
    assert without_secrets("GetConfiguration", unset) == unset


def test_a_useless_frame_is_kept_unless_it_may_hold_a_password() -> None:
    for kept in (
        b'[2,"7f23","Heartbeat",{',
        b'[6,"a","NotifyEvent",{}]',
        b"not even JSON",
        b'[33,"a",{}]',
        b'{"3":4}',
        b"\xff\xfe\x00",
        b'[2,"a","DataTransfer",{"vendorId":"\\u00fc"}]',
        b"",
    ):
        assert shown_frame(kept, 4096) == kept.decode("utf-8", "replace")
    assert shown_frame(b"x" * 5000, 4096) == "x" * 4096
    key = b'{"configurationKey":[{"key":"AuthorizationKey","value":"s3cret"}]}'
    for frame, shown in (
        (b'[3,"late",' + key + b"]", '[3,"late"'),
        (b'[3,"broken",' + key, '[3,"broken"'),
        (b' [ 4 , "e" , "InternalError" , "s3cret", {}]', '[4,"e"'),
        (b'\xef\xbb\xbf[3,"bom",{"a":"s3cret"}]', ""),
        (b'["3","text",{"a":"s3cret"}]', ""),
        (b"[3,7," + key + b"]", ""),
        (key, ""),
        (b'[2,"echo","ChangeConfiguration",' + key.lower() + b"]", '[2,"echo"'),
        (key.replace(b"AuthorizationKey", b"\\u0041uthorizationKey"), ""),
        (key.decode().encode("utf-16"), ""),
        (b'[2,"r","NotifyReport",' + b" " * 5000 + b'{"name":"BasicAuthPassword"}', '[2,"r"'),
    ):
        assert shown_frame(frame, 4096) == shown
