from hypothesis import given
from hypothesis import strategies as st

from libs.ocpp.transactions import transaction_id_16

KEY = b"k" * 32
START = ("CP1", 1, "TAG", "2026-01-01T00:00:00Z", 100)


def test_the_same_start_gets_the_same_id() -> None:
    assert transaction_id_16(KEY, *START) == transaction_id_16(KEY, *START)


def test_each_fact_of_the_start_and_the_key_matter() -> None:
    others = [
        ("CP2", 1, "TAG", "2026-01-01T00:00:00Z", 100),
        ("CP1", 2, "TAG", "2026-01-01T00:00:00Z", 100),
        ("CP1", 1, "TAH", "2026-01-01T00:00:00Z", 100),
        ("CP1", 1, "TAG", "2026-01-01T00:00:01Z", 100),
        ("CP1", 1, "TAG", "2026-01-01T00:00:00Z", 101),
        ("CP1", 11, "AG", "2026-01-01T00:00:00Z", 100),
    ]
    ids = {transaction_id_16(KEY, *start) for start in [START, *others]}
    ids.add(transaction_id_16(b"other", *START))
    assert len(ids) == len(others) + 2


def test_ids_do_not_change_between_releases() -> None:
    assert transaction_id_16(KEY, *START) == 1066323474


@given(st.text(), st.integers(), st.text(), st.text(), st.integers())
def test_ids_are_positive_int32(station: str, connector: int, tag: str, at: str, meter: int) -> None:
    """1.6 errata: the ids that a central system issues are positive and fit 32 bits; 0 stands for none."""
    assert 0 < transaction_id_16(KEY, station, connector, tag, at, meter) < 2**31
