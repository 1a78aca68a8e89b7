from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.ocpp.versions import Version, negotiate, station_id_from_path, station_identity
from services.api.registry.stations import NewStation
from services.edge.domain.admission import Refusal, identify


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (["ocpp1.6"], Version.V16),
        (["ocpp2.0.1", "ocpp1.6"], Version.V201),  # the client's order of preference, not ours
        (["ocpp1.6", "ocpp2.1"], Version.V16),
        (["ocpp1.5", "ocpp2.1"], Version.V21),
        ([" ocpp2.0.1 "], Version.V201),
        (["ocpp2.0", "soap"], None),  # OCTT 088, B_58
        (["OCPP1.6"], None),  # RFC 6455: subprotocol names are case-sensitive
        ([], None),
    ],
)
def test_negotiation_takes_the_first_that_both_speak(offered: list[str], expected: Version | None) -> None:
    assert negotiate(offered) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ocpp/CP001", "cp001"),
        ("/CP001", "cp001"),
        ("CP001", "cp001"),
        ("/ocpp/1.6/CP001", "cp001"),  # the path never selects the version
        ("//ocpp//CP001", "cp001"),  # SETEC
        ("/ocpp/CP001/", "cp001"),
        ("/ocpp/CP001//", "cp001"),
        ("/ocpp/CP001?token=x/y", "cp001"),
        ("/ocpp/CP%20001", "cp 001"),
        ("/ocpp/%C3%89", "é"),
        ("/ocpp/" + "x" * 48, "x" * 48),
        ("/ocpp/cp001", "cp001"),
    ],
)
def test_identity_is_the_last_path_segment_decoded(path: str, expected: str) -> None:
    assert station_id_from_path(path) == expected


@pytest.mark.parametrize(
    "path",
    ["", "/", "/ocpp/" + "x" * 49, "/a:b", "/a%3Ab", "/a%00", "/a%0Ab", "/a%7F", "/%ff", "/%20", "/\ud800"],
)
def test_bad_identities_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"identity|UTF-8"):
        station_id_from_path(path)


REFUSED = {
    "white space at its end": "a ",
    "white space at its beginning": " a",
    "no-break space": "a\u00a0b",
    "the folder itself": ".",
    "the folder above": "..",
    "slash": "a/b",
    "colon": "a:b",
    "control character": "a\x07b",
    "line separator": "a\u2028b",
    "right-to-left override": "a\u202eb",
    "right-to-left isolate": "a\u2067b",
    "left-to-right mark": "a\u200eb",
    "zero-width space": "a\u200bb",
    "zero-width joiner": "a\u200db",
    "byte order mark": "\ufeffa",
    "soft hyphen": "a\u00adb",
    "combining accent": "e\u0301",
    "combining grapheme joiner": "a\u034fb",
    "variation selector": "a\ufe0f",
    "blank letter": "a\u3164b",
    "blank braille": "a\u2800",
    "private use": "a\ue000",
    "not assigned": "a\u0378",
    "folded to a mark": "\u0130x",
    "144 characters once folded": "\ufb03" * 48,
    "49 characters": "x" * 49,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_one_rule_for_those_who_connect_and_those_who_register(text: str) -> None:
    with pytest.raises(ValueError, match="a station identity"):
        station_identity(text)
    if "/" not in text:
        with pytest.raises(ValueError, match="a station identity"):
            station_id_from_path(f"/ocpp/{quote(text, safe='')}")
    with pytest.raises(ValueError, match="a station identity"):
        station_id_from_path("/ocpp/a%2Fb")
    with pytest.raises(ValidationError):
        NewStation.model_validate({"station_id": text})


@given(st.text(max_size=60))
def test_whoever_may_be_registered_can_connect_as_that(text: str) -> None:
    try:
        identity = station_identity(text)
    except ValueError:
        assert isinstance(identify(f"/ocpp/{quote(text, safe='')}"), Refusal)
        return
    assert identify(f"/ocpp/{quote(text, safe='')}") == identity
    assert station_identity(identity) == identity
    assert len(identity) <= 48
    assert NewStation.model_validate({"station_id": text}).station_id == identity
