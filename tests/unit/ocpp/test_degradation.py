"""What a charger that lacks something is sent instead, and by which name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.ocpp import schemas
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.abilities import NOTHING_KNOWN, Abilities, abilities_of
from libs.ocpp.semantics.degradation import DEGRADATIONS, Planned, plan_command
from libs.ocpp.semantics.encoding import Unsupported, encode_command
from libs.ocpp.semantics.splitting import ITEMISED, items_asked, items_in
from libs.ocpp.semantics.variables import LIMITING_KEYS, LIMITING_VARIABLES
from libs.ocpp.versions import Version
from tests.unit.ocpp.commands import COMMANDS

V16, V201, V21 = Version.V16, Version.V201, Version.V21
NOW = 1_767_225_600_000_000
LIMIT = c.SetLimit(
    evse_id=2, transaction_id="7", limit_milliamp=16_050, profile_id=5, stack_level=8, phases=3
)
DEFAULT = c.SetDefaultLimit(evse_id=0, limit_milliamp=6_000, profile_id=5, stack_level=0)
WATTS_16 = {"ChargingScheduleAllowedChargingRateUnit": "Power"}
LEARNED = CapabilitiesLearned(
    event_id="e",
    occurred_at=1,
    recorded_at=1,
    cause_id="e",
    station_id="s",
    version="ocpp1.6",
    features=("Core",),
    lacking=("GetLog",),
    variables=(
        KnownVariable(name="getconfigurationmaxkeys", value="3"),
        KnownVariable(name="NumberOfConnectors", value="2"),
    ),
)


def knows(version: Version, *lacking: str, **variables: str) -> Abilities:
    return Abilities(version, lacking, {name.replace("_", "."): v for name, v in variables.items()})


def profile_of(planned: Planned) -> dict[str, Any]:
    profile: dict[str, Any] = planned.payload.get("csChargingProfiles") or planned.payload["chargingProfile"]
    return profile


def test_nothing_known_is_nothing_lost() -> None:
    for version in Version:
        planned = plan_command(version, LIMIT, NOTHING_KNOWN)
        assert (planned.action, planned.payload) == encode_command(version, LIMIT)
        assert planned.degraded is None


@pytest.mark.parametrize(
    ("version", "abilities"),
    [(V16, Abilities(V16, variables=WATTS_16)), (V201, knows(V201, SmartChargingCtrlr_RateUnit="W"))],
)
def test_amperes_become_watts(version: Version, abilities: Abilities) -> None:
    planned = plan_command(version, LIMIT, abilities)
    schedule = profile_of(planned)["chargingSchedule"]
    schedule = schedule[0] if isinstance(schedule, list) else schedule
    assert planned.degraded == "limit_in_watts"
    assert schedule["chargingRateUnit"] == "W"
    # 16.0 A x 230 V x 3, rounded down.
    assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 11040.0, "numberPhases": 3}]
    one_phase = profile_of(plan_command(version, DEFAULT, abilities))["chargingSchedule"]
    one_phase = one_phase[0] if isinstance(one_phase, list) else one_phase
    assert one_phase["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 1380.0}]


def test_a_charger_that_takes_amperes_gets_them() -> None:
    for units in ("Current", "Current,Power", "Power, Current", "A", "nonsense", ""):
        abilities = Abilities(V16, variables={"ChargingScheduleAllowedChargingRateUnit": units})
        assert plan_command(V16, LIMIT, abilities).degraded is None


def test_without_tx_profiles_the_limit_is_the_evses_default() -> None:
    for version in Version:
        planned = plan_command(version, LIMIT, knows(version, "SetChargingProfile:TxProfile"))
        assert planned.degraded == "default_profile"
        profile = profile_of(planned)
        assert (profile["chargingProfilePurpose"], "transactionId" in profile) == ("TxDefaultProfile", False)


def test_several_ways_to_do_less_are_all_named() -> None:
    abilities = Abilities(
        V16, ("SetChargingProfile:TxProfile",), {**WATTS_16, "ChargeProfileMaxStackLevel": "3"}
    )
    planned = plan_command(V16, LIMIT, abilities)
    assert planned.degraded == "default_profile,limit_in_watts,stack_level_lowered"
    assert profile_of(planned)["stackLevel"] == 3


@pytest.mark.parametrize(
    ("command", "lacking", "name", "action"),
    [
        (c.GetLog("diagnostics", "https://x", 1), "GetLog", "plain_diagnostics", "GetDiagnostics"),
        (
            c.UpdateFirmware("https://x", NOW, 1, signing_certificate="PEM", signature="s"),
            "SignedUpdateFirmware",
            "unsigned_firmware",
            "UpdateFirmware",
        ),
        (c.TriggerMessage("log_status"), "ExtendedTriggerMessage", "plain_trigger", "TriggerMessage"),
        (c.TriggerMessage("status"), "TriggerMessage", "extended_trigger", "ExtendedTriggerMessage"),
    ],
)
def test_1_6_without_its_security_extension(command: c.Command, lacking: str, name: str, action: str) -> None:
    planned = plan_command(V16, command, knows(V16, lacking))
    assert (planned.degraded, planned.action) == (name, action)
    assert schemas.validate(V16, planned.action, "request", planned.payload) is None
    assert plan_command(V16, command, NOTHING_KNOWN).degraded is None


def test_a_report_that_cannot_be_made_becomes_questions() -> None:
    known = {"DeviceDataCtrlr.ItemsPerMessage[GetVariables]": "100"}
    planned = plan_command(V201, c.GetBaseReport(1), Abilities(V201, ("GetBaseReport",), known))
    assert (planned.action, planned.degraded) == ("GetVariables", "named_variables")
    assert planned.items == planned.total > 20


@pytest.mark.parametrize(
    ("version", "names", "first"), [(V16, LIMITING_KEYS, 1), (V201, LIMITING_VARIABLES, 2)]
)
def test_what_limits_a_question_is_asked_before_the_rest_of_it(
    version: Version, names: tuple[str, ...], first: int
) -> None:
    command = c.GetVariables(tuple(c.Variable(name) for name in names))
    parts = [plan_command(version, command, NOTHING_KNOWN, done) for done in (0, first)]
    assert [part.items for part in parts] == [first, len(names) - first]
    alone = c.GetVariables(command.variables[:first])
    assert plan_command(version, alone, NOTHING_KNOWN).payload == parts[0].payload


@pytest.mark.parametrize(
    ("version", "command", "abilities", "feature"),
    [
        (V16, LIMIT, knows(V16, "SetChargingProfile"), "SetChargingProfile"),
        (
            V16,
            LIMIT,
            knows(V16, "SetChargingProfile:TxProfile", "SetChargingProfile:TxDefaultProfile"),
            "SetChargingProfile:TxDefaultProfile",
        ),
        (V16, c.GetLog("security", "https://x", 1), knows(V16, "GetLog"), "GetLog"),
        (
            V16,
            c.GetLog("diagnostics", "https://x", 1),
            knows(V16, "GetLog", "GetDiagnostics"),
            "GetDiagnostics",
        ),
        (
            V16,
            c.TriggerMessage("sign_certificate"),
            knows(V16, "ExtendedTriggerMessage"),
            "ExtendedTriggerMessage",
        ),
        (V16, c.CostUpdated("t", 1), NOTHING_KNOWN, "CostUpdated"),
        (
            V16,
            c.ReserveNow(1, 0, "T", NOW),
            knows(V16, ReserveConnectorZeroSupported="false"),
            "ReserveConnectorZeroSupported",
        ),
        (
            V201,
            c.ReserveNow(1, 0, "T", NOW),
            knows(V201, ReservationCtrlr_NonEvseSpecific="false"),
            "ReservationCtrlr.NonEvseSpecific",
        ),
        (
            V201,
            c.SendLocalList(1, full=True),
            knows(V201, LocalAuthListCtrlr_Available="False"),
            "LocalAuthListCtrlr",
        ),
        (V21, c.GetBaseReport(1), knows(V21, "GetBaseReport", "GetVariables"), "GetVariables"),
        (
            V201,
            c.TriggerMessage("transaction"),
            knows(V201, "TriggerMessage:TransactionEvent"),
            "TriggerMessage:TransactionEvent",
        ),
    ],
)
def test_where_nothing_lesser_exists_the_feature_is_named(
    version: Version, command: c.Command, abilities: Abilities, feature: str
) -> None:
    with pytest.raises(Unsupported, match=f"unsupported: {feature}") as raised:
        plan_command(version, command, abilities)
    assert raised.value.feature == feature


@pytest.mark.parametrize("listed", [("Core", "Smart Charging"), ("Core", "smartcharging"), ("Core",), ("x",)])
def test_feature_profiles_keep_nothing_back(listed: tuple[str, ...]) -> None:
    known = replace(LEARNED, features=listed, lacking=(), variables=())
    assert plan_command(V16, LIMIT, abilities_of(known)).degraded is None


def test_a_reservation_of_a_given_evse_needs_no_zero() -> None:
    command = c.ReserveNow(1, 2, "T", NOW)
    assert plan_command(V16, command, knows(V16, ReserveConnectorZeroSupported="false")).degraded is None


def test_what_was_said_in_another_version_says_nothing() -> None:
    old = Abilities(V16, ("SetChargingProfile", "GetBaseReport"), WATTS_16)
    for command in (LIMIT, c.GetBaseReport(1)):
        planned = plan_command(V201, command, old)
        assert (planned.action, planned.payload, planned.degraded) == (*encode_command(V201, command), None)


def variables(count: int) -> tuple[c.Variable, ...]:
    return tuple(c.Variable(f"Ctrlr.V{number}") for number in range(count))


def test_five_variables_with_a_limit_of_four_go_as_four_and_one() -> None:
    """B_08."""
    abilities = Abilities(V201, variables={"DeviceDataCtrlr.ItemsPerMessage[GetVariables]": "4"})
    command = c.GetVariables(variables(5))
    first = plan_command(V201, command, abilities)
    second = plan_command(V201, command, abilities, done=4)
    assert [(p.items, p.total, p.degraded) for p in (first, second)] == [(4, 5, None), (1, 5, None)]
    asked = [d["variable"]["name"] for p in (first, second) for d in p.payload["getVariableData"]]
    assert asked == ["V0", "V1", "V2", "V3", "V4"]


def test_bytes_per_message() -> None:
    name = "DeviceDataCtrlr.BytesPerMessage[SetVariables]"
    command = c.SetVariables(tuple(c.VariableValue(v.name, "x" * 50) for v in variables(5)))
    planned = plan_command(V201, command, Abilities(V201, variables={name: "500"}))
    assert 1 < planned.items < 5
    assert plan_command(V201, command, Abilities(V201, variables={name: "1"})).items == 1


def test_1_6_changes_one_key_at_a_time_and_asks_for_as_many_as_the_charger_takes() -> None:
    changes = c.SetVariables((c.VariableValue("A", "1"), c.VariableValue("B", "2")))
    second = plan_command(V16, changes, NOTHING_KNOWN, done=1)
    assert (second.payload, second.items, second.total) == ({"key": "B", "value": "2"}, 1, 2)
    asked = plan_command(V16, c.GetVariables(variables(3)), knows(V16, GetConfigurationMaxKeys="2"))
    assert (asked.items, asked.total) == (2, 3)


@pytest.mark.parametrize("sizes", [(6, 1, 36, 36, 1, 36), (36, 36, 1, 1, 1, 1), (1, 1, 1, 1, 36, 36)])
def test_no_two_messages_of_a_local_list_have_the_same_version(sizes: tuple[int, ...]) -> None:
    abilities = Abilities(V201, variables={"LocalAuthListCtrlr.BytesPerMessage": "330"})
    entries = tuple(c.LocalListEntry(str(number) * size) for number, size in enumerate(sizes))
    command = c.SendLocalList(list_version=107, full=False, entries=entries)
    versions, items, done = [], [], 0
    while done < len(entries):
        planned = plan_command(V201, command, abilities, done)
        versions.append(planned.payload["versionNumber"])
        items.append(planned.items)
        done += planned.items
    assert len(set(items)) > 1
    assert versions == sorted(set(versions))
    # As many versions as entries are the command's own: the one before it ended at 101.
    assert (versions[0] > 101, versions[-1]) == (True, 107)


ALL_LACKING = st.sets(
    st.sampled_from(
        [
            "GetLog",
            "SignedUpdateFirmware",
            "ExtendedTriggerMessage",
            "TriggerMessage",
            "GetBaseReport",
            "GetVariables",
            "SetChargingProfile:TxProfile",
            "SetChargingProfile:TxDefaultProfile",
            "TriggerMessage:StatusNotification",
        ]
    )
).map(lambda names: tuple(sorted(names)))
VALUES = st.sampled_from(
    ["", "0", "1", "2", "7", "600", "A", "W", "Power", "Current", "true", "false", "-1", "²"]
)
NAMES = st.sampled_from(
    [
        "ChargingScheduleAllowedChargingRateUnit",
        "SmartChargingCtrlr.RateUnit",
        "ChargeProfileMaxStackLevel",
        "SmartChargingCtrlr.ProfileStackLevel",
        "GetConfigurationMaxKeys",
        "ReserveConnectorZeroSupported",
        "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
        "LocalAuthListCtrlr.Available",
        "LocalAuthListCtrlr.ItemsPerMessage",
        "SendLocalListMaxLength",
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    COMMANDS,
    st.sampled_from(list(Version)),
    ALL_LACKING,
    st.dictionaries(NAMES, VALUES),
)
def test_whatever_is_known_what_is_sent_conforms_and_asks_for_everything_once(
    command: c.Command,
    version: Version,
    lacking: tuple[str, ...],
    known: dict[str, str],
) -> None:
    abilities = Abilities(version, lacking, known)
    try:
        planned = plan_command(version, command, abilities)
    except ValueError:
        return
    done = 0
    while True:
        assert schemas.validate(version, planned.action, "request", planned.payload) is None
        assert planned.action not in lacking
        if items_asked(command):
            assert planned.total == items_asked(command)
        assert planned.items == (items_in(planned.action, planned.payload) if planned.total else 0)
        assert planned.total == 0 or (planned.items > 0 and planned.action in ITEMISED)
        done += planned.items
        if done >= planned.total:
            break
        planned = plan_command(version, command, abilities, done)
    assert done == planned.total


def test_what_was_learned_as_far_as_it_decides() -> None:
    assert abilities_of(LEARNED) == Abilities("ocpp1.6", ("GetLog",), {"GetConfigurationMaxKeys": "3"})


def test_names_are_unique() -> None:
    assert len({rule.name for rule in DEGRADATIONS}) == len(DEGRADATIONS)
