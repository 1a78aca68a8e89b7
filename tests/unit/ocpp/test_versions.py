import pytest

from libs.ocpp.versions import Version, negotiate, station_id_from_path


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
        ("/ocpp/CP001", "CP001"),
        ("/CP001", "CP001"),
        ("CP001", "CP001"),
        ("/ocpp/1.6/CP001", "CP001"),  # the path never selects the version
        ("//ocpp//CP001", "CP001"),  # SETEC
        ("/ocpp/CP001/", "CP001"),
        ("/ocpp/CP001//", "CP001"),
        ("/ocpp/CP001?token=x/y", "CP001"),
        ("/ocpp/CP%20001", "CP 001"),
        ("/ocpp/%C3%A9", "é"),
        ("/ocpp/a%2Fb", "a/b"),
        ("/ocpp/" + "x" * 48, "x" * 48),
        ("/ocpp/cp001", "cp001"),  # kept as sent
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
