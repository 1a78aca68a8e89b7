"""Every answer conforms to its schema and says what the registry says."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.events.registry import BootStatus, StationRegistered, TokenRegistered, TokenStatus
from libs.ocpp import schemas
from libs.ocpp.quirks.book import clock_rule
from libs.ocpp.routing import ROUTES, Policy
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND
from services.edge.domain.acceptance import AskedFor, asks_for, may_call, why_not_send
from services.edge.domain.answers import Asked, answer
from services.edge.domain.rules import ReadModels, Rules, Standing, UnknownTokens
from services.edge.domain.times import occurred_at
from tests.unit.ocpp.csrs import WORTHLESS, csr_of

NOW = 1_800_000_000_000_000
NEW_YEAR = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
ACCEPTED = Standing(BootStatus.ACCEPTED, 300, True)
PENDING = Standing(BootStatus.PENDING, 60, True)
START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-01-01T00:00:00Z", "meterStart": 100}
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "a",
    "issuerKeyHash": "b",
    "serialNumber": "c",
}
# Payloads whose answers depend on them; the answers of all others do not.
PAYLOADS: dict[str, dict[str, Any]] = {
    "StartTransaction": START,
    "StopTransaction": {"idTag": "TAG", "transactionId": 1, "timestamp": START["timestamp"], "meterStop": 5},
    "TransactionEvent": {"idToken": {"idToken": "TAG", "type": "ISO14443"}},
    "GetCertificateChainStatus": {
        "certificateStatusRequests": [
            {"certificateHashData": HASH, "source": "OCSP", "urls": ["http://ocsp.example"]}
        ]
    },
    "VatNumberValidation": {"vatNumber": "NL1"},
}


def token(id_token: str = "tag", **fields: Any) -> TokenRegistered:
    base: dict[str, Any] = {
        "event_id": "e",
        "occurred_at": NOW,
        "recorded_at": NOW,
        "cause_id": "e",
        "id_token": id_token,
    }
    return TokenRegistered(**(base | fields))


def station(station_id: str) -> StationRegistered:
    return StationRegistered(
        event_id="e", occurred_at=NOW, recorded_at=NOW, cause_id="e", station_id=station_id
    )


def ask(
    version: Version,
    action: str,
    payload: dict[str, Any] | None = None,
    *,
    tokens: tuple[TokenRegistered, ...] = (),
    unknown: UnknownTokens = UnknownTokens.REJECT,
    standing: Standing = ACCEPTED,
    station_id: str = "cp1",
    key: bytes = b"k" * 16,
) -> dict[str, Any]:
    read = ReadModels({}, {t.id_token: t for t in tokens}, Rules(transaction_key=key, unknown_tokens=unknown))
    asked = Asked(version, station_id, action, payload or {}, standing, read, NOW)
    given = answer(ROUTES[version][action], asked)
    assert schemas.validate(version, action, "response", given) is None, given
    return given


def authorize(version: Version) -> dict[str, Any]:
    return {"idTag": "TAG"} if version is Version.V16 else {"idToken": {"idToken": "TAG", "type": "ISO14443"}}


@pytest.mark.parametrize("standing", [ACCEPTED, PENDING])
@pytest.mark.parametrize(
    ("version", "action"),
    [
        (version, route.action)
        for version, routes in ROUTES.items()
        for route in routes.values()
        if route.to_csms and route.policy is not Policy.NONE
    ],
)
def test_every_action_has_an_answer_that_conforms(version: Version, action: str, standing: Standing) -> None:
    payload = authorize(version) if action == "Authorize" else PAYLOADS.get(action)
    full = token(group_id="group", valid_until=NOW + 1)
    ask(version, action, payload, tokens=(full,), standing=standing)


def test_a_station_of_2_1_is_told_that_no_charging_profile_follows() -> None:
    """2.0.1 has no word for it (NotifyEVChargingNeedsStatusEnumType)."""
    assert ask(Version.V201, "NotifyEVChargingNeeds") == {"status": "Rejected"}
    assert ask(Version.V21, "NotifyEVChargingNeeds") == {"status": "NoChargingProfile"}


@pytest.mark.parametrize("evse", [{}, {"evseId": 0}, {"evseId": 2}])
def test_the_answer_about_a_vat_number_names_the_evse_that_was_asked_for(evse: dict[str, int]) -> None:
    number = {"vatNumber": "DE123456789"}
    told = ask(Version.V21, "VatNumberValidation", number | evse)
    assert told == {**number, **evse, "status": "Rejected"}


@pytest.mark.parametrize("version", Version)
def test_boot_tells_time_interval_and_status(version: Version) -> None:
    told = ask(version, "BootNotification")
    assert told == {"currentTime": "2027-01-15T08:00:00.000Z", "interval": 300, "status": "Accepted"}
    assert ask(version, "BootNotification", standing=PENDING)["status"] == "Pending"
    assert ask(version, "Heartbeat") == {"currentTime": "2027-01-15T08:00:00.000Z"}


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    ("entry", "status"),
    [
        ({}, "Accepted"),
        ({"valid_until": NOW + 1}, "Accepted"),
        ({"valid_until": NOW}, "Expired"),
        ({"status": TokenStatus.BLOCKED, "valid_until": NOW - 1}, "Blocked"),
        ({"status": TokenStatus.EXPIRED}, "Expired"),
        ({"status": TokenStatus.INVALID}, "Invalid"),
    ],
)
def test_tokens_are_told_apart(version: Version, entry: dict[str, Any], status: str) -> None:
    told = ask(version, "Authorize", authorize(version), tokens=(token(**entry),))
    (info,) = told.values()
    assert info["status"] == status


@pytest.mark.parametrize("version", Version)
def test_unknown_tokens_follow_the_policy_and_unaccepted_stations_get_none(version: Version) -> None:
    def status(**more: Any) -> str:
        (info,) = ask(version, "Authorize", authorize(version), **more).values()
        return str(info["status"])

    assert status() == "Invalid"
    assert status(unknown=UnknownTokens.ACCEPT) == "Accepted"
    assert status(tokens=(token(),), standing=PENDING) == "Invalid"


def test_groups_and_expiry_travel_in_each_versions_words() -> None:
    entry = token(group_id="fleet", valid_until=NOW + 1_000_000)
    assert ask(Version.V16, "Authorize", {"idTag": "TAG"}, tokens=(entry,))["idTagInfo"] == {
        "status": "Accepted",
        "expiryDate": "2027-01-15T08:00:01.000Z",
        "parentIdTag": "fleet",
    }
    assert ask(Version.V201, "Authorize", authorize(Version.V201), tokens=(entry,))["idTokenInfo"] == {
        "status": "Accepted",
        "cacheExpiryDateTime": "2027-01-15T08:00:01.000Z",
        "groupIdToken": {"idToken": "fleet", "type": "Central"},
    }
    long = token(group_id="g" * 37)
    assert "parentIdTag" not in ask(Version.V16, "Authorize", {"idTag": "TAG"}, tokens=(long,))["idTagInfo"]


def test_a_contract_certificate_that_nobody_can_check_authorises_nothing() -> None:
    payload = {**authorize(Version.V201), "certificate": "PEM"}
    told = ask(Version.V201, "Authorize", payload, tokens=(token(),))
    assert told["idTokenInfo"]["status"] == "Invalid"
    assert told["certificateStatus"] == "NoCertificateAvailable"


def test_no_authorization_needs_no_token() -> None:
    payload = {"idToken": {"idToken": "", "type": "NoAuthorization"}}
    assert ask(Version.V201, "TransactionEvent", payload)["idTokenInfo"] == {"status": "Accepted"}


def test_a_transaction_id_is_stable_unguessable_and_given_to_invalid_tokens_too() -> None:
    first = ask(Version.V16, "StartTransaction", START)
    assert first["idTagInfo"]["status"] == "Invalid"
    assert 0 < first["transactionId"] < 2**31
    again = ask(Version.V16, "StartTransaction", dict(START))
    assert again["transactionId"] == first["transactionId"]
    others = [
        ask(Version.V16, "StartTransaction", {**START, "connectorId": 2}),
        ask(Version.V16, "StartTransaction", {**START, "meterStart": 101}),
        ask(Version.V16, "StartTransaction", START, station_id="cp2"),
        ask(Version.V16, "StartTransaction", START, key=b"other key"),
    ]
    assert len({other["transactionId"] for other in [*others, first]}) == 5


@pytest.mark.parametrize("transaction_id", [-1, 0, 12345, 2**31])
def test_a_stop_is_confirmed_whatever_its_id(transaction_id: int) -> None:
    stop = {"transactionId": transaction_id, "timestamp": START["timestamp"], "meterStop": 1}
    assert ask(Version.V16, "StopTransaction", stop) == {}
    assert ask(Version.V16, "StopTransaction", {**stop, "idTag": "TAG"})["idTagInfo"]["status"] == "Invalid"


@pytest.mark.parametrize("version", Version)
def test_data_of_an_unknown_vendor_is_answered_not_refused(version: Version) -> None:
    assert ask(version, "DataTransfer", {"vendorId": "x"}) == {"status": "UnknownVendorId"}


def signing(
    version: Version,
    csr: str,
    use: str | None = None,
    *,
    certificate_name: str | None = None,
    operator: str = "",
    desk: bool = True,
) -> str:
    """What `cp1` is told, which is registered beside `cp2`, of a request to sign."""
    rules = Rules(transaction_key=b"k" * 16, certificate_desk=desk, operator=operator)
    registered = {name: station(name) for name in ("cp1", "cp2")}
    payload = {"csr": csr} | ({} if use is None else {"certificateType": use})
    standing = Standing(BootStatus.ACCEPTED, 300, True, certificate_name=certificate_name)
    asked = Asked(
        version, "cp1", "SignCertificate", payload, standing, ReadModels(registered, {}, rules), NOW
    )
    given = answer(ROUTES[version]["SignCertificate"], asked)
    assert schemas.validate(version, "SignCertificate", "response", given) is None
    assert ("statusInfo" in given) is (desk and version.is_v2 and given["status"] == "Rejected")
    return str(given["status"])


@pytest.mark.parametrize("version", Version)
def test_a_csr_is_accepted_only_where_somebody_signs(version: Version) -> None:
    assert signing(version, csr_of("CP1")) == "Accepted"
    assert signing(version, csr_of("CP1"), desk=False) == "Rejected"


@pytest.mark.parametrize("version", Version)
def test_a_csr_in_anothers_name_is_rejected(version: Version) -> None:
    """A request names the station that sends it, as its certificate has to: the registry's name, or else its id."""
    assert signing(version, csr_of("cp2")) == "Rejected"
    assert signing(version, csr_of("SN-1"), certificate_name="sn-1") == "Accepted"
    assert signing(version, csr_of("cp1"), certificate_name="sn-1") == "Rejected"
    assert signing(version, csr_of("cp1", "cp2")) == "Rejected"
    assert signing(version, csr_of()) == "Rejected"
    assert signing(version, csr_of("cp1", organisation="Us"), operator="Us") == "Accepted"
    assert signing(version, csr_of("cp1", organisation="Them"), operator="Us") == "Rejected"
    assert signing(version, csr_of("cp1"), operator="Us") == "Rejected"


@pytest.mark.parametrize(
    ("version", "use"),
    [
        (Version.V201, "V2GCertificate"),
        (Version.V21, "V2GCertificate"),
        (Version.V21, "V2G20Certificate"),
    ],
)
def test_what_vehicles_are_shown_has_a_name_of_its_own_but_not_another_stations(
    version: Version, use: str
) -> None:
    """2.0.1 `ISO15118Ctrlr.SeccId` is the common name there."""
    assert signing(version, csr_of("DEABCS1234"), use) == "Accepted"
    assert signing(version, csr_of("cp1"), use, certificate_name="sn-1") == "Accepted"
    assert signing(version, csr_of("CP2"), use) == "Rejected"


@pytest.mark.parametrize("version", Version)
def test_what_is_no_csr_is_rejected(version: Version) -> None:
    for kind, worthless in WORTHLESS.items():
        assert signing(version, worthless) == "Rejected", kind


def test_before_acceptance_2_x_may_only_boot_and_send_what_it_was_asked_for() -> None:
    heartbeat, boot = ROUTES[Version.V201]["Heartbeat"], ROUTES[Version.V201]["BootNotification"]
    assert may_call(boot, BootStatus.REJECTED)
    assert not may_call(heartbeat, BootStatus.PENDING)
    assert may_call(heartbeat, BootStatus.ACCEPTED)
    wanted = asks_for("TriggerMessage", {"requestedMessage": "Heartbeat"})
    assert wanted is not None
    asked_for = AskedFor()
    assert not asked_for.take("Heartbeat", NOW)
    asked_for.add(wanted, NOW)
    assert asked_for.take("Heartbeat", NOW)
    assert may_call(ROUTES[Version.V16]["StatusNotification"], BootStatus.PENDING)


def test_what_was_asked_for_may_come_for_a_while_and_so_many_times() -> None:
    asked_for, ten_minutes = AskedFor(), 600_000_000
    asked_for.add("NotifyReport", NOW)
    asked_for.add("Heartbeat", NOW)
    assert sum(asked_for.take("NotifyReport", NOW + number) for number in range(2_000)) == 1_000
    assert asked_for.take("Heartbeat", NOW + ten_minutes)
    assert not asked_for.take("Heartbeat", NOW + ten_minutes + 1)
    asked_for.add("Heartbeat", NOW + ten_minutes + 1)
    assert asked_for.take("Heartbeat", NOW + 2 * ten_minutes)


def test_what_a_command_makes_a_station_send() -> None:
    assert asks_for("GetBaseReport", {"requestId": 1}) == "NotifyReport"
    assert (
        asks_for("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"})
        == "SignCertificate"
    )
    assert asks_for("Reset", {"type": "Soft"}) is None
    assert asks_for("TriggerMessage", {}) is None


def test_a_station_that_is_not_accepted_is_told_little() -> None:
    assert why_not_send("Reset", BootStatus.ACCEPTED) is None
    assert why_not_send("Reset", BootStatus.REJECTED)
    assert why_not_send("GetBaseReport", BootStatus.PENDING) is None
    assert why_not_send("RequestStartTransaction", BootStatus.PENDING)


@pytest.mark.parametrize(
    ("payload", "at"),
    [
        ({"timestamp": "2026-12-01T00:00:00Z"}, 1_796_083_200_000_000),
        ({"generatedAt": "2026-12-01T00:00:00Z"}, 1_796_083_200_000_000),
        ({"meterValue": [{"timestamp": "2026-12-01T00:00:00Z"}]}, 1_796_083_200_000_000),
        ({"meterValue": []}, NOW),
        ({"meterValue": "?"}, NOW),
        ({}, NOW),
    ],
)
def test_when_it_happened(payload: dict[str, Any], at: int) -> None:
    assert occurred_at(payload, NOW, ACCEPTED.zone) == (at, ())


def test_a_bent_clock_is_flagged() -> None:
    assert occurred_at({"timestamp": "1970-01-01T00:00:00Z"}, NOW, ACCEPTED.zone)[0] == NOW
    assert occurred_at({"timestamp": "1970-01-01T00:00:00Z"}, NOW, ACCEPTED.zone)[1]


@pytest.mark.parametrize(("vendor", "bent"), [("Chago", True), ("Other", False)])
def test_a_clock_that_a_rule_knows_is_put_right(vendor: str, bent: bool) -> None:
    """Local time marked as UTC: Berlin is an hour ahead in winter."""
    clock = clock_rule("ocpp1.6", vendor, "Pro", "")
    found = occurred_at({"timestamp": "2026-01-01T01:00:00Z"}, NEW_YEAR, ZoneInfo("Europe/Berlin"), clock)
    assert found == ((NEW_YEAR, ("local_time_marked_utc",)) if bent else (NEW_YEAR + 3600 * SECOND, ()))


@pytest.mark.parametrize("version", Version)
def test_a_group_is_answered_as_it_was_entered(version: Version) -> None:
    """Chargers that compare bytes find their group."""
    full = token(group_id="group1", group_written="Group1")
    given = ask(version, "Authorize", authorize(version), tokens=(full,))
    if version is Version.V16:
        assert given["idTagInfo"]["parentIdTag"] == "Group1"
    else:
        assert given["idTokenInfo"]["groupIdToken"] == {"idToken": "Group1", "type": "Central"}
