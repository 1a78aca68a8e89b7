"""Charging profiles: parsing, installing, clearing, and the limit that holds at an instant.

One model serves OCPP 1.6 (section 3.13) and 2.0.1 (part 2, K). Payloads arrive with snake_case keys, as the
`ocpp` package's handlers receive them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from libs.runtime.clock import SECOND
from services.simulator.domain.power import VOLTAGE_V, watts

DAY_US = 86_400 * SECOND
Unit = Literal["A", "W"]
Purpose = Literal["StationMax", "TxDefault", "Tx"]

_PURPOSES: dict[str, Purpose] = {
    "ChargePointMaxProfile": "StationMax",
    "ChargingStationMaxProfile": "StationMax",
    "TxDefaultProfile": "TxDefault",
    "TxProfile": "Tx",
}
_RECURRENCE_US = {"Daily": DAY_US, "Weekly": 7 * DAY_US}


@dataclass(frozen=True, slots=True)
class Period:
    """From `start_s` after the schedule's start, at most `limit_milli` thousandths of the schedule's unit."""

    start_s: int
    limit_milli: int
    phases: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that holds until `until_us` (None: no end known). `period` None means: no limit."""

    period: Period | None
    unit: Unit
    until_us: int | None

    def watts(self, phases: int) -> int | None:
        """The limit as W for a charge over `phases` phases, or None for no limit."""
        if self.period is None:
            return None
        return watts(self.period.limit_milli, self.unit, min(phases, self.period.phases or phases))


NO_LIMIT = Limit(None, "W", None)


@dataclass(frozen=True, slots=True)
class Profile:
    """One charging profile. Instants are microseconds since the epoch on the charger's clock."""

    id: int
    stack_level: int
    purpose: Purpose
    kind: str
    unit: Unit
    periods: tuple[Period, ...]
    installed_us: int
    start_us: int | None = None
    duration_s: int | None = None
    recurrency: str | None = None
    valid_from_us: int | None = None
    valid_to_us: int | None = None
    transaction_id: str | None = None

    def at(self, now_us: int, tx_start_us: int | None) -> Limit:
        """The limit of this profile alone at `now_us`; relative schedules count from `tx_start_us`."""
        if self.valid_from_us is not None and now_us < self.valid_from_us:
            return Limit(None, self.unit, self.valid_from_us)
        if self.valid_to_us is not None and now_us >= self.valid_to_us:
            return Limit(None, self.unit, None)
        # Without startSchedule a schedule counts from the start of the transaction, or of its own installation.
        anchor = self.installed_us if tx_start_us is None else tx_start_us
        start = self.start_us if self.start_us is not None and self.kind != "Relative" else anchor
        ends: list[int] = [] if self.valid_to_us is None else [self.valid_to_us]
        if self.kind == "Recurring" and now_us >= start:
            every = _RECURRENCE_US[self.recurrency or "Daily"]
            start += (now_us - start) // every * every
            ends.append(start + every)
        if now_us < start:
            return Limit(None, self.unit, min([start, *ends]))
        if self.duration_s is not None:
            end = start + self.duration_s * SECOND
            if now_us >= end:
                return Limit(None, self.unit, min(ends, default=None))
            ends.append(end)
        current = None
        for period in self.periods:
            begins = start + period.start_s * SECOND
            if begins > now_us:
                ends.append(begins)
                break
            current = period
        return Limit(current, self.unit, min(ends, default=None))


@dataclass(frozen=True, slots=True)
class ProfileStore:
    """The profiles that a charger holds, each at an EVSE id (0: the whole station)."""

    entries: tuple[tuple[int, Profile], ...] = ()

    def install(self, evse_id: int, profile: Profile) -> ProfileStore:
        """Add `profile`; it replaces one of its id, and one of its purpose and stack level at that EVSE."""
        kept = tuple(
            (where, old)
            for where, old in self.entries
            if old.id != profile.id
            and (where, old.purpose, old.stack_level) != (evse_id, profile.purpose, profile.stack_level)
        )
        return replace(self, entries=(*kept, (evse_id, profile)))

    def clear(
        self,
        profile_id: int | None = None,
        evse_id: int | None = None,
        purpose: Purpose | None = None,
        stack_level: int | None = None,
    ) -> tuple[ProfileStore, int]:
        """Remove what matches every given criterion (an id alone decides); return how many went."""

        def matches(where: int, profile: Profile) -> bool:
            if profile_id is not None:
                return profile.id == profile_id
            return (
                evse_id in (None, where)
                and purpose in (None, profile.purpose)
                and stack_level in (None, profile.stack_level)
            )

        kept = tuple(entry for entry in self.entries if not matches(*entry))
        return replace(self, entries=kept), len(self.entries) - len(kept)

    def end_transaction(self, evse_id: int) -> ProfileStore:
        """Drop the TxProfiles of `evse_id`: they live as long as their transaction."""
        return self.clear(evse_id=evse_id, purpose="Tx")[0]

    def limit(self, purpose: Purpose, evse_id: int, now_us: int, tx_start_us: int | None) -> Limit:
        """The limit of one purpose at an EVSE: the highest stack level that says something now.

        A TxDefaultProfile of the EVSE itself goes before one of the whole station at the same level.
        """
        if not self.entries:
            return NO_LIMIT
        where = (evse_id, 0) if purpose == "TxDefault" else (0,) if purpose == "StationMax" else (evse_id,)
        ranked = sorted(
            (entry for entry in self.entries if entry[1].purpose == purpose and entry[0] in where),
            key=lambda entry: (entry[1].stack_level, entry[0] == evse_id),
            reverse=True,
        )
        until: int | None = None
        for _, profile in ranked:
            limit = profile.at(now_us, tx_start_us)
            until = _sooner(until, limit.until_us)
            if limit.period is not None:
                return replace(limit, until_us=until)
        return Limit(None, "W", until)

    def charge_limit(
        self, evse_id: int, now_us: int, tx_start_us: int | None, phases: int
    ) -> tuple[int | None, int | None]:
        """W allowed to one EVSE by TxProfile (else TxDefaultProfile), and until when; None for no limit."""
        until: int | None = None
        for purpose in ("Tx", "TxDefault") if tx_start_us is not None else ("TxDefault",):
            limit = self.limit(purpose, evse_id, now_us, tx_start_us)
            until = _sooner(until, limit.until_us)
            if limit.period is not None:
                return limit.watts(phases), until
        return None, until


def _sooner(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def composite(
    store: ProfileStore,
    evse_id: int,
    *,
    now_us: int,
    duration_s: int,
    tx_start_us: int | None,
    phases: int,
    max_power_w: int,
    unit: Unit,
) -> Iterator[Period]:
    """The composite schedule of `evse_id` (0: the station) from `now_us`: periods of the least limit.

    Neighbouring periods differ; the first starts at 0. The outlet's own maximum `max_power_w` is one limit.
    """
    at, end, last = now_us, now_us + duration_s * SECOND, -1
    while at < end:
        station = store.limit("StationMax", 0, at, None)
        allowed = [max_power_w] if (whole := station.watts(3)) is None else [max_power_w, whole]
        until = station.until_us
        if evse_id:
            own, own_until = store.charge_limit(evse_id, at, tx_start_us, phases)
            until = _sooner(until, own_until)
            if own is not None:
                allowed.append(own)
        power = min(allowed)
        milli = power * 1000 if unit == "W" else power * 1000 // (VOLTAGE_V * phases)
        if milli != last:
            yield Period((at - now_us) // SECOND, milli)
            last = milli
        if until is None:
            return
        at = max(until, at + 1)


def instant_us(text: str) -> int:
    """An ISO 8601 timestamp as microseconds since the epoch; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000) * 1000


def purpose_of(name: str) -> Purpose:
    """The purpose that OCPP calls `name`. Raises ValueError for one that a central system may not set."""
    try:
        return _PURPOSES[name]
    except KeyError:
        raise ValueError(f"purpose {name} is not set by a central system") from None


def parse_profile(payload: Mapping[str, Any], now_us: int) -> Profile:
    """A csChargingProfiles (1.6) or chargingProfile (2.0.1, first schedule) with snake_case keys.

    Raises ValueError or KeyError when it is not one.
    """
    schedules = payload["charging_schedule"]
    schedule: Mapping[str, Any] = schedules[0] if isinstance(schedules, list) else schedules
    periods = tuple(
        Period(int(entry["start_period"]), _milli(entry["limit"]), entry.get("number_phases"))
        for entry in schedule["charging_schedule_period"]
    )
    if not periods or periods[0].start_s != 0 or list(periods) != sorted(periods, key=lambda p: p.start_s):
        raise ValueError("a schedule starts at 0 and its periods are in order")
    transaction = payload.get("transaction_id")
    return Profile(
        id=int(payload["charging_profile_id"] if "charging_profile_id" in payload else payload["id"]),
        stack_level=int(payload["stack_level"]),
        purpose=purpose_of(payload["charging_profile_purpose"]),
        kind=payload["charging_profile_kind"],
        unit="W" if schedule["charging_rate_unit"] == "W" else "A",
        periods=periods,
        installed_us=now_us,
        start_us=_optional_instant(schedule.get("start_schedule")),
        duration_s=schedule.get("duration"),
        recurrency=payload.get("recurrency_kind"),
        valid_from_us=_optional_instant(payload.get("valid_from")),
        valid_to_us=_optional_instant(payload.get("valid_to")),
        transaction_id=None if transaction is None else str(transaction),
    )


def _milli(limit: Any) -> int:
    # By way of text, because 8.1 read as a binary float is a little less than 8.1 A.
    return int(Decimal(str(limit)) * 1000)


def _optional_instant(text: str | None) -> int | None:
    return None if text is None else instant_us(text)
