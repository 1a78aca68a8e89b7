"""What is in force at a moment."""

from collections.abc import Iterable

from libs.events.registry import Assignment, PowerRating, TariffVersion


def in_force(assignments: Iterable[Assignment], at: int) -> str | None:
    """The id assigned at `at` (microseconds); None before the first assignment."""
    begun = [each for each in assignments if each.valid_from <= at]
    return max(begun, key=lambda each: each.valid_from).id if begun else None


def power_in_force(ratings: Iterable[PowerRating], at: int) -> int | None:
    """The power rated at `at` (microseconds), W; None before the first rating."""
    begun = [each for each in ratings if each.valid_from <= at]
    return max(begun, key=lambda each: each.valid_from).power_w if begun else None


def version_in_force(versions: Iterable[TariffVersion], at: int) -> int | None:
    """The number of the tariff version in force at `at` (microseconds); None before the first."""
    begun = [each for each in versions if each.valid_from <= at]
    return max(begun, key=lambda each: each.valid_from).version if begun else None
