"""What is sent to a charger that lacks what a command takes: something lesser, by name, or nothing.

`DEGRADATIONS` is the whole of it; `docs/semantic-model.md` lists it. A command about more items than fit into one
message is planned piece by piece (`libs.ocpp.semantics.splitting`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.abilities import Abilities
from libs.ocpp.semantics.encode_limits import is_relative
from libs.ocpp.semantics.encode_v16 import PLAIN_TRIGGERS, EncodedCall, get_diagnostics
from libs.ocpp.semantics.encoding import Unsupported, encode_command
from libs.ocpp.semantics.splitting import items_asked, next_part
from libs.ocpp.semantics.variables import LIMITING_VARIABLES
from libs.ocpp.versions import Version

NOMINAL_VOLTS: Final = 230
"""Line to neutral, to put a limit of current in watts."""


class Planned(msgspec.Struct, frozen=True):
    """One CALL: ``degraded`` names what is lesser in it (None: nothing); ``items`` of ``total`` are in it.

    Both are 0 for what is not about a number of items.
    """

    action: str
    payload: dict[str, Any]
    degraded: str | None = None
    items: int = 0
    total: int = 0

    @property
    def text(self) -> str:
        """The payload as JSON text."""
        return msgspec.json.encode(self.payload).decode()


Degrade = Callable[[Version, Any, EncodedCall, Abilities], EncodedCall | None]


class Degradation(msgspec.Struct, frozen=True):
    """A way to do less: ``degrade`` returns another message, or None where there is no need (or no way)."""

    name: str
    commands: tuple[type, ...]
    when: str
    instead: str
    degrade: Degrade


def plan_command(
    version: Version, command: c.Command, abilities: Abilities, done: int = 0, *, asked_at: int = 0
) -> Planned:
    """The next CALL of a command, of whose items ``done`` have been sent before; ``asked_at``: since when it is wanted.

    Raises `Unsupported` where the charger lacks a feature and nothing lesser exists, ``ValueError`` for what the
    version cannot express.
    """
    command, names = _other_command(version, command, abilities, asked_at)
    total = items_asked(command)
    if total:
        command = next_part(version, command, abilities, done)
    encoded = encode_command(version, command)
    for rule in DEGRADATIONS:
        if isinstance(command, rule.commands) and (
            lesser := rule.degrade(version, command, encoded, abilities)
        ):
            encoded, names = lesser, (*names, rule.name)
    missing = abilities.missing(version, *encoded)
    if missing is not None:
        raise Unsupported(missing)
    return Planned(*encoded, degraded=",".join(names) or None, items=items_asked(command), total=total)


# Other commands --------------------------------------------------------------------------------------------------

NAMED_VARIABLES: Final = "named_variables"
ABSOLUTE_PROFILE: Final = "absolute_profile"
_KINDS: Final = ("Relative", "Absolute")


def _other_command(
    version: Version, command: c.Command, abilities: Abilities, asked_at: int
) -> tuple[c.Command, tuple[str, ...]]:
    """A report that the charger cannot make becomes a question for the variables that limit it, a limit from the begin
    of the transaction one from the moment when it was asked for."""
    if isinstance(command, c.SetLimit | c.SetDefaultLimit) and is_relative(command):
        kind, _ = abilities.profile_form(version, _KINDS)
        return (
            (command, ())
            if kind == "Relative"
            else (replace(command, starts_at=asked_at), (ABSOLUTE_PROFILE,))
        )
    report = isinstance(command, c.GetBaseReport) and version.is_v2
    if report and abilities.missing(version, "GetBaseReport", {}):
        return c.GetVariables(tuple(c.Variable(name) for name in LIMITING_VARIABLES)), (NAMED_VARIABLES,)
    return command, ()


# Messages --------------------------------------------------------------------------------------------------------


def _default_profile(
    version: Version, command: c.SetLimit, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    if abilities.version != version or "SetChargingProfile:TxProfile" not in abilities.lacking:
        return None
    profile = _profile(encoded)
    if profile["chargingProfilePurpose"] != "TxProfile" or not command.evse_id:
        return None
    rest = {name: value for name, value in profile.items() if name != "transactionId"}
    return _with_profile(encoded, {**rest, "chargingProfilePurpose": "TxDefaultProfile"})


def _limit_in_watts(
    version: Version, command: c.SetLimit | c.SetDefaultLimit, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    kinds = _KINDS if is_relative(command) else ("Absolute",)
    if abilities.profile_form(version, kinds)[1] != "W":
        return None
    watts = max(command.limit_milliamp, 0) // 100 * NOMINAL_VOLTS * (command.phases or 1) // 10
    profile = _profile(encoded)
    many = isinstance(profile["chargingSchedule"], list)
    schedule = profile["chargingSchedule"][0] if many else profile["chargingSchedule"]
    (period,) = schedule["chargingSchedulePeriod"]
    schedule = {
        **schedule,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{**period, "limit": float(watts)}],
    }
    return _with_profile(encoded, {**profile, "chargingSchedule": [schedule] if many else schedule})


def _stack_level(
    version: Version, command: c.SetLimit | c.SetDefaultLimit, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    most = abilities.stack_level(version)
    if most is None or command.stack_level <= most:
        return None
    return _with_profile(encoded, {**_profile(encoded), "stackLevel": most})


def _profile(encoded: EncodedCall) -> dict[str, Any]:
    payload = encoded[1]
    profile: dict[str, Any] = payload[_profile_name(payload)]
    return profile


def _with_profile(encoded: EncodedCall, profile: dict[str, Any]) -> EncodedCall:
    action, payload = encoded
    return action, {**payload, _profile_name(payload): profile}


def _profile_name(payload: dict[str, Any]) -> str:
    return "csChargingProfiles" if "csChargingProfiles" in payload else "chargingProfile"


def _diagnostics(
    version: Version, command: c.GetLog, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    if version.is_v2 or command.log != "diagnostics" or not abilities.missing(version, *encoded):
        return None
    return get_diagnostics(command)


def _unsigned(
    version: Version, command: c.UpdateFirmware, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    if encoded[0] != "SignedUpdateFirmware" or not abilities.missing(version, *encoded):
        return None
    return encode_command(version, replace(command, signing_certificate=None, signature=None))


def _plain_trigger(
    version: Version, command: c.TriggerMessage, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    action, payload = encoded
    if action != "ExtendedTriggerMessage" or command.message != "log_status":
        return None
    if not abilities.missing(version, action, payload):
        return None
    return "TriggerMessage", {**payload, "requestedMessage": "DiagnosticsStatusNotification"}


def _extended_trigger(
    version: Version, command: c.TriggerMessage, encoded: EncodedCall, abilities: Abilities
) -> EncodedCall | None:
    action, payload = encoded
    if version.is_v2 or command.message not in PLAIN_TRIGGERS:
        return None
    if not abilities.missing(version, action, payload):
        return None
    return "ExtendedTriggerMessage", payload


DEGRADATIONS: Final = (
    Degradation(
        "default_profile",
        (c.SetLimit,),
        "it takes no TxProfile",
        "TxDefaultProfile of the EVSE: the limit outlasts the transaction until it is cleared",
        _default_profile,
    ),
    Degradation(
        "limit_in_watts",
        (c.SetLimit, c.SetDefaultLimit),
        "charging schedules in watts only, or none taken in amperes",
        f"current x {NOMINAL_VOLTS} V x phases of the command (1 if it names none), rounded down",
        _limit_in_watts,
    ),
    Degradation(
        "stack_level_lowered",
        (c.SetLimit, c.SetDefaultLimit),
        "fewer stack levels",
        "its highest stack level",
        _stack_level,
    ),
    Degradation(
        "plain_diagnostics",
        (c.GetLog,),
        "1.6 without GetLog, diagnostics wanted",
        "GetDiagnostics: the charger names the file, its progress is a DiagnosticsStatusNotification",
        _diagnostics,
    ),
    Degradation(
        "unsigned_firmware",
        (c.UpdateFirmware,),
        "1.6 without SignedUpdateFirmware",
        "UpdateFirmware: the charger does not prove the signature, and installs as soon as it likes",
        _unsigned,
    ),
    Degradation(
        "plain_trigger",
        (c.TriggerMessage,),
        "1.6 without ExtendedTriggerMessage, log status wanted",
        "TriggerMessage of a DiagnosticsStatusNotification",
        _plain_trigger,
    ),
    Degradation(
        "extended_trigger",
        (c.TriggerMessage,),
        "1.6 without TriggerMessage",
        "ExtendedTriggerMessage: firmware status comes as a SignedFirmwareStatusNotification",
        _extended_trigger,
    ),
)
"""In the order in which they are tried; several may apply to one command."""
