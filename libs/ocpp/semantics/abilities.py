"""What is known of one charger's abilities, as far as it decides how a command is put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.events.stations import CapabilitiesLearned
from libs.ocpp.versions import Version

COMPONENTS_2: Final[Mapping[str, str]] = {
    "GetLocalListVersion": "LocalAuthListCtrlr",
    "SendLocalList": "LocalAuthListCtrlr",
    "CancelReservation": "ReservationCtrlr",
    "ReserveNow": "ReservationCtrlr",
    "ClearChargingProfile": "SmartChargingCtrlr",
    "GetChargingProfiles": "SmartChargingCtrlr",
    "GetCompositeSchedule": "SmartChargingCtrlr",
    "SetChargingProfile": "SmartChargingCtrlr",
    "ClearDisplayMessage": "DisplayMessageCtrlr",
    "GetDisplayMessages": "DisplayMessageCtrlr",
    "SetDisplayMessage": "DisplayMessageCtrlr",
    "ClearCache": "AuthCacheCtrlr",
}
"""The component of 2.x whose variable Available says whether there is such an action (2.0.1 part 2, appendix 3)."""

_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "TriggerMessage": ("requestedMessage",),
    "ExtendedTriggerMessage": ("requestedMessage",),
    "SetChargingProfile": ("csChargingProfiles|chargingProfile", "chargingProfilePurpose"),
}
_USED_VARIABLES: Final = frozenset(
    {
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "GetConfigurationMaxKeys",
        "SendLocalListMaxLength",
        "LocalAuthListCtrlr.ItemsPerMessage",
        "LocalAuthListCtrlr.BytesPerMessage",
        "ReserveConnectorZeroSupported",
        "SmartChargingCtrlr.ProfileStackLevel",
        "SmartChargingCtrlr.RateUnit",
        "ReservationCtrlr.NonEvseSpecific",
        "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
        "DeviceDataCtrlr.ItemsPerMessage[SetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[GetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
        *(f"{component}.Available" for component in COMPONENTS_2.values()),
    }
)
_FOLDED: Final = {name.casefold(): name for name in _USED_VARIABLES}


class Abilities(msgspec.Struct, frozen=True, array_like=True):
    """What a charger said of itself while it spoke ``version``.

    ``lacking``: actions, or ``action:argument`` (see `argument_of`). ``variables``: those that matter here, by their
    names in the specification.

    The feature profiles of 1.6 do not affect which commands are sent: chargers spell them in their own way and leave
    out what they can do.
    """

    version: str = ""
    lacking: tuple[str, ...] = ()
    variables: dict[str, str] = {}

    def missing(self, version: Version, action: str, payload: Mapping[str, Any]) -> str | None:
        """The feature that the charger would need for this message and does not have; None if it may have all."""
        if self.version != version:
            return None
        if action in self.lacking:
            return action
        argument = argument_of(action, payload)
        if argument is not None and f"{action}:{argument}" in self.lacking:
            return f"{action}:{argument}"
        component = COMPONENTS_2.get(action) if version.is_v2 else None
        if component is not None and self._is(f"{component}.Available", "false"):
            return component
        return self._missing_for_any_evse(action, payload)

    def number(self, version: Version, name: str) -> int | None:
        """The value of a variable as a number; None if it is not known, or is none above zero."""
        text = self.variables.get(name, "") if self.version == version else ""
        return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text) else None

    def stack_level(self, version: Version) -> int | None:
        """The highest stack level of a charging profile; None if it is not known."""
        name = "SmartChargingCtrlr.ProfileStackLevel" if version.is_v2 else "ChargeProfileMaxStackLevel"
        text = self.variables.get(name, "") if self.version == version else ""
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None

    def rate_units(self, version: Version) -> tuple[str, ...]:
        """The units in which charging schedules may be taken, A or W, the better one first."""
        name = "SmartChargingCtrlr.RateUnit" if version.is_v2 else "ChargingScheduleAllowedChargingRateUnit"
        text = self.variables.get(name, "") if self.version == version else ""
        units = {unit.strip().casefold() for unit in text.split(",")}
        amperes, watts = bool(units & {"a", "current"}), bool(units & {"w", "power"})
        known = (("A",) if amperes else ()) + (("W",) if watts else ())
        return known or ("A", "W")

    def profile_form(self, version: Version, kinds: tuple[str, ...]) -> tuple[str, str]:
        """Kind and unit of a charging profile, the best that the charger may take; ``kinds``: those that will do.

        Raises ValueError if it has refused all of them.
        """
        lacking = self.lacking if self.version == version else ()
        forms = ((kind, unit) for unit in self.rate_units(version) for kind in kinds)
        for form in forms:
            if lacking_form(*form) not in lacking:
                return form
        raise ValueError("it has refused every kind of charging profile, in amperes and in watts")

    def _missing_for_any_evse(self, action: str, payload: Mapping[str, Any]) -> str | None:
        if action != "ReserveNow":
            return None
        name = (
            "ReserveConnectorZeroSupported"
            if "connectorId" in payload
            else "ReservationCtrlr.NonEvseSpecific"
        )
        any_evse = not (payload.get("connectorId") or payload.get("evseId"))
        return name if any_evse and self._is(name, "false") else None

    def _is(self, name: str, value: str) -> bool:
        return self.variables.get(name, "").strip().casefold() == value


NOTHING_KNOWN: Final = Abilities()


def abilities_of(learned: CapabilitiesLearned) -> Abilities:
    """The part of what was learned that decides how commands are put."""
    variables = relevant_variables((known.name, known.value) for known in learned.variables)
    if not (learned.lacking or variables):
        return NOTHING_KNOWN
    return Abilities(learned.version, learned.lacking, variables)


def relevant_variables(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those variables, of names and values, that decide how commands are put, as `Abilities.variables` names them."""
    return {_FOLDED[folded]: value for name, value in variables if (folded := name.casefold()) in _FOLDED}


def lacking_name(action: str, argument: str | None) -> str:
    """How `Abilities.lacking` names an action, or one argument of it."""
    return action if argument is None else f"{action}:{argument}"


def lacking_form(kind: str, unit: str) -> str:
    """How `Abilities.lacking` names charging profiles of a kind and unit that were refused."""
    return lacking_name("SetChargingProfile", f"{kind}/{unit}")


def is_form(lacking: str) -> bool:
    """Whether it is a name of `lacking_form`."""
    return lacking.startswith("SetChargingProfile:") and "/" in lacking


def form_of(payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and unit of the profile in a SetChargingProfile; None if it has none."""
    try:
        profile = payload["csChargingProfiles" if "csChargingProfiles" in payload else "chargingProfile"]
        schedule = profile["chargingSchedule"]
        schedule = schedule[0] if isinstance(schedule, list) else schedule
        return str(profile["chargingProfileKind"]), str(schedule["chargingRateUnit"])
    except (KeyError, IndexError, TypeError):
        return None


def without(abilities: Abilities, version: Version, lacking: tuple[str, ...]) -> Abilities:
    """The abilities of a charger that speaks ``version``, as far as they are known, less some more."""
    if abilities.version != version:
        return Abilities(version, lacking=lacking)
    return replace(abilities, lacking=(*abilities.lacking, *lacking))


def with_variables(abilities: Abilities, version: Version, variables: Mapping[str, str]) -> Abilities:
    """The abilities of a charger that speaks ``version``, as far as they are known, with newer `variables`."""
    if abilities.version != version:
        return Abilities(version, variables=dict(variables))
    return replace(abilities, variables={**abilities.variables, **variables})


def argument_of(action: str, payload: Mapping[str, Any]) -> str | None:
    """The argument of an action on which it depends whether a charger can do it; None if there is none."""
    value: Any = payload
    for names in _ARGUMENTS.get(action, ("",)):
        value = next(
            (value[name] for name in names.split("|") if isinstance(value, dict) and name in value), None
        )
    return value if isinstance(value, str) else None
