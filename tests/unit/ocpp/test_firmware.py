import pytest

from libs.ocpp.quirks.firmware import in_range, parse_range, version_key


@pytest.mark.parametrize(
    "rising",
    [
        ["1.9", "1.10", "2"],
        ["2.0-alpha1", "2.0-beta2", "2.0-rc1", "2.0", "2.0.1"],
        ["v4.2.2", "V5.0.0"],
        ["4.15.0-3910", "4.15.0-4123", "5.8.1-4123", "6.0"],
        ["05.43", "05.621"],
        ["3.4.0.2", "3.4.0.9"],
        ["1.2", "1.2b", "1.3"],
        ["GWM-05.653-05.21", "GWM-07.020-03_GCW-10.18-05.7"],
    ],
)
def test_versions_compare_as_people_would(rising: list[str]) -> None:
    keys = [version_key(text) for text in rising]
    for before, after, one, two in zip(rising, rising[1:], keys, keys[1:], strict=False):
        assert one != two
        assert in_range(before, parse_range(f"<{after}"))
        assert in_range(after, parse_range(f">{before}"))


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        (">=4.0, <=4.2.2", ["4.0", "4.2.2", "v4.1-b7"], ["3.9.9", "4.2.3", "4.10", ""]),
        ("=1.2", ["1.2", "1.2.0", "V1.2"], ["1.2.1", "12"]),
        ("<6", ["5.8.1-4123", "6.0-rc1"], ["6", "6.0.0", "6.1", "unknown"]),
        (">2 <3", ["2.1"], ["2", "3"]),
    ],
)
def test_ranges(range_: str, inside: list[str], outside: list[str]) -> None:
    comparisons = parse_range(range_)
    assert all(in_range(firmware, comparisons) for firmware in inside)
    assert not any(in_range(firmware, comparisons) for firmware in outside)


@pytest.mark.parametrize("text", ["", "4.2", "~4", ">=", ">= beta", ">1 or <2"])
def test_other_texts_are_no_ranges(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|number"):
        parse_range(text)
