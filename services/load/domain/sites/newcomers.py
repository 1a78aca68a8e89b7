"""Newcomers start low: which stations of a site hold a default limit, and what to ask of them next.

A vehicle draws what its charger gives until the first command of a plan arrives. At a site with a limit every
station therefore holds a low limit for transactions that have none of their own yet. It is asked for when the
station starts (it may have forgotten), when it comes to the site, and when the site gets a limit; it is taken
back when the limit goes. A station that refuses is asked again only with other firmware or a new limit: it
charges as it would without, and the plan's own limits go on.

Of a station that was moved only its new site asks, because nothing orders the commands of two sites. One that is
at no site any more stays with the one that it left until it has dropped the default limit.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from libs.events.load import StationNews, StationObserved
from services.load.domain.sites.allocation import MIN_SHARE_MA

DEFAULT_LIMIT_MA = MIN_SHARE_MA
"""What a newcomer may draw on each EVSE: it charges, but no less can be given."""


class Ask(StrEnum):
    """HOLD: set the default limit. DROP: take it back."""

    HOLD = "HOLD"
    DROP = "DROP"


class Member(msgspec.Struct, frozen=True):
    """A station of the site, or one that has `left` and may still hold the default limit.

    `asked`, `command_id`: what it was asked last. `unreached`: that ended without its word. `refused`: it said no.
    """

    station_id: str
    asked: Ask | None = None
    command_id: str = ""
    unreached: bool = False
    refused: bool = False
    booted_at: int = 0
    firmware_version: str | None = None
    left: bool = False

    @property
    def over(self) -> bool:
        """Whether it left, and there is nothing to wait for."""
        return self.left and self.asked is None


class Heard(msgspec.Struct, frozen=True):
    """A member after some news, and what to ask of it now."""

    member: Member
    ask: Ask | None = None


def asked(member: Member, ask: Ask, command_id: str) -> Member:
    """The member once a command is on its way."""
    return replace(member, asked=ask, command_id=command_id, unreached=False)


def hear(member: Member, seen: StationObserved, limited: bool) -> Heard:
    """Take in what was observed of a station; `limited`: whether the site has a limit."""
    match seen.news:
        case StationNews.BOOTED:
            return _booted(member, seen, limited)
        case StationNews.JOINED:
            return _come(replace(member, left=False), seen, limited, again=False)
        case StationNews.LEFT:
            return _gone(member, seen)
        case StationNews.REFUSED if seen.command_id == member.command_id:
            return Heard(replace(member, refused=True))
        case StationNews.UNREACHED if seen.command_id == member.command_id:
            return Heard(replace(member, unreached=True))
        case _:
            return Heard(member)


def sign_of_life(member: Member, limited: bool) -> Ask | None:
    """What to ask of a station that is there again after a command did not reach it."""
    return _next(member, limited, again=False) if member.unreached else None


def limit_changed(member: Member, limited: bool) -> Heard:
    """The site got a limit, or its limit went."""
    if limited:
        return Heard(member, _next(member, limited, again=False))
    if member.refused:
        return Heard(replace(member, asked=None, refused=False))
    return Heard(member, Ask.DROP if member.asked is Ask.HOLD else None)


def _gone(member: Member, seen: StationObserved) -> Heard:
    """It left, is still away, or its last command is through."""
    gone = Member(member.station_id, left=True)
    if seen.command_id is not None:
        return Heard(gone if member.left and seen.command_id == member.command_id else member)
    if seen.other_site_id is not None:
        return Heard(gone)
    if member.left:
        return Heard(member, _next(member, limited=False, again=False))
    # Asked to drop before: whether it has is not known.
    return Heard(gone, Ask.DROP if member.asked is not None and not member.refused else None)


def _booted(member: Member, seen: StationObserved, limited: bool) -> Heard:
    if seen.recorded_at <= member.booted_at:
        return Heard(member)
    same_firmware = seen.firmware_version == member.firmware_version
    member = replace(
        member,
        booted_at=seen.recorded_at,
        firmware_version=seen.firmware_version,
        refused=member.refused and same_firmware,
        left=False,
    )
    return _come(member, seen, limited, again=True)


def _come(member: Member, seen: StationObserved, limited: bool, *, again: bool) -> Heard:
    if not limited and seen.other_site_id is not None:
        return Heard(member, Ask.DROP)
    return Heard(member, _next(member, limited, again=again))


def _next(member: Member, limited: bool, *, again: bool) -> Ask | None:
    """What to ask now; `again`: even if it was asked before."""
    if not limited or member.left:
        return Ask.DROP if member.asked is Ask.DROP and member.unreached else None
    if member.refused:
        return None
    return Ask.HOLD if again or member.unreached or member.asked is not Ask.HOLD else None
