"""Every scenario that a central system must prove is shown by a test, or it is said why it cannot be."""

from collections import Counter
from typing import Final

import pytest

from libs.ocpp.versions import MAX_IDENTITY_LENGTH
from tests.scenarios.document import DOCUMENT, NOT_SHOWN, document, rows


def _numbers(prefix: str, *ids: str) -> list[str]:
    """`TC_<prefix>01`, ... of single numbers and ranges such as `06-18`."""
    found: list[str] = []
    for each in ids:
        first, _, last = each.partition("-")
        width = len(first)
        found += [f"TC_{prefix}{n:0{width}}" for n in range(int(first), int(last or first) + 1)]
    return found


WANTED: Final[dict[str, list[str]]] = {
    "a cold boot, statuses of connector 0 too, heartbeats": ["TC_001"],
    "plug first, tag first, tag without cable, cable pulled": ["TC_003", "TC_004_1", "TC_004_2", "TC_005_1"],
    "a start that was not authorised before": ["TC_007"],
    "remote start, timed out too, remote stop, both refused": [
        "TC_010", "TC_011_1", "TC_011_2", "TC_012", "TC_026", "TC_028",
    ],
    "resets": ["TC_013", "TC_014"],
    "unlocking and its failures": ["TC_017_1", "TC_017_2", "TC_018_1", "TC_030", "TC_031"],
    "configuration": ["TC_019_1", "TC_019_2", "TC_021", "TC_040_1", "TC_040_2"],
    "invalid, expired and blocked tags told apart": ["TC_023_1", "TC_023_2", "TC_023_3"],
    "lock failure, power loss": ["TC_024", "TC_032_1"],
    "offline transactions": ["TC_037_1", "TC_037_3", "TC_039"],
    "cache, vendors' data": ["TC_061", "TC_064"],
    "local list, and how a mismatch leads to a full one": [
        "TC_042_1", "TC_042_2", "TC_043_1", "TC_043_3", "TC_043_4", "TC_043_5",
    ],
    "firmware, diagnostics": ["TC_044_1", "TC_044_2", "TC_044_3", "TC_045_1", "TC_045_2"],
    "reservation": [
        "TC_046", "TC_047", "TC_048_1", "TC_048_2", "TC_048_3", "TC_048_4", *_numbers("", "049-053"),
    ],
    "triggers": ["TC_054", "TC_055"],
    "smart charging": ["TC_056", "TC_057", "TC_059", "TC_066", "TC_067"],
    "security of 1.6": [
        "TC_073", "TC_074", "TC_075_1", "TC_075_2", *_numbers("", "076-081", "083", "085-088"),
    ],
    "A: authentication, TLS, renewal of passwords and certificates, profile": _numbers("A_", "01-19"),
    "B: boot, pending, trigger while pending": _numbers("B_", "01-02", "30-31"),
    "B: variables and reports": _numbers("B_", "06-18"),
    "B: resets": _numbers("B_", "20-27"),
    "B: network profiles, subprotocol": _numbers("B_", "42", "44", "58"),
    "C: groups, master pass, cache, contract certificates": _numbers(
        "C_", "02", "06-08", "20", "37-40", "43", "47-52"
    ),
    "D: local list": _numbers("D_", "01-04", "08-09"),
    "E: every start and stop point, status, sequence": _numbers(
        "E_", "01-04", "07-12", "14-17", "19-22", "26", "29-34", "38-39", "53"
    ),
    "F: remote start, unlock, triggers": _numbers("F_", "01-04", "06", "11-15", "18", "20", "23-24", "27"),
    "G: availability of station, EVSE, connector": _numbers("G_", "03-08", "11", "14", "17", "20"),
    "H: reservation": _numbers("H_", "01", "07-08", "14-15", "17", "19-20", "22"),
    "I: running and total cost": _numbers("I_", "01-02"),
    "J: clock-aligned, sampled, signed, outside transactions": _numbers("J_", "01-04", "07-11"),
    "K: profiles, composite schedules, external limits": _numbers(
        "K_", "01-06", "08", "10", "15", "19", "29-37", "43-44", "48", "50-53", "55", "57-60", "70"
    ),
    "L: firmware signed and published": _numbers("L_", "01-11", "13", "17", "19-24"),
    "M: certificates, OCSP": _numbers("M_", "01-05", "12-21", "24", "26", "28"),
    "N: monitoring, logs, customer information": _numbers(
        "N_", "01-03", "05", "08-09", "16-18", "21", "24-25", "27-32", "34-36", "44", "46-50", "60", "62-63"
    ),
    "O: display messages": _numbers("O_", "01-14", "17-19", "25-28"),
    "P: unknown vendors, customData": _numbers("P_", "02-03"),
    "2.1: streams, DER, battery swap, tariffs": ["TC_N_107", "TC_R_107", "TC_S_103", "TC_I_101"],
}  # fmt: skip
SHOWN: Final = Counter(row.id for row in rows())


@pytest.mark.parametrize("what", WANTED)
def test_is_shown_or_said_why_not(what: str) -> None:
    missing = [number for number in WANTED[what] if number not in SHOWN and number not in NOT_SHOWN]
    assert missing == []


def test_what_cannot_be_shown_is_not_shown() -> None:
    assert NOT_SHOWN.keys() & SHOWN.keys() == set()


def test_sends_and_result_errors_of_2_1_are_shown() -> None:
    assert {"test_v21_send", "test_v21_call_result_error"} <= {row.test.split("::")[1] for row in rows()}


def test_each_scenario_has_a_station_of_its_own() -> None:
    """They are registered by the names of the tests, cut to what an identity may have."""
    tests = {row.test for row in rows()}
    stations = Counter(
        test.split("::")[1].removeprefix("test_")[:MAX_IDENTITY_LENGTH].rstrip("_") for test in tests
    )
    assert [name for name, number in stations.items() if number > 1] == []


def test_page_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run `make docs`"
