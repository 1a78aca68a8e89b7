"""Any version-free command, within the lengths that every version allows."""

from __future__ import annotations

from hypothesis import strategies as st

from libs.ocpp.semantics import commands as c

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)
SHORT = st.text("abcXYZ0123456789-", min_size=1, max_size=8)
HEX = st.text("0123456789abcdef", min_size=1, max_size=40)
NUMBERS = st.integers(0, 2**31 - 1)
EVSES = st.integers(1, 9)
TIMES = st.integers(1_500_000_000_000_000, 2_000_000_000_000_000)
TRANSACTIONS = NUMBERS.map(str)
TOKEN_TYPES = st.sampled_from(["Central", "ISO14443", "eMAID"])
NAMES = st.sampled_from(["HeartbeatInterval", "TxCtrlr.EVConnectionTimeOut", "Connector[left].State[x]"])


def maybe(some: st.SearchStrategy[int] | st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return st.none() | some


ENTRIES = st.builds(
    c.LocalListEntry,
    id_token=WORDS,
    status=st.sampled_from(["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx", None]),
    id_token_type=TOKEN_TYPES,
    expires_at=maybe(TIMES),
    group_id=maybe(WORDS),
)
USES = st.sampled_from(["csms_root", "manufacturer_root", "v2g_root", "contract_root"])
COMMANDS: st.SearchStrategy[c.Command] = st.one_of(
    st.builds(
        c.SetLimit,
        evse_id=EVSES,
        transaction_id=maybe(TRANSACTIONS),
        limit_milliamp=st.integers(0, 1_000_000),
        profile_id=NUMBERS,
        stack_level=st.integers(0, 9),
        valid_seconds=st.none(),
        phases=maybe(st.integers(1, 3)),
        starts_at=maybe(TIMES),
    ),
    st.builds(
        c.SetDefaultLimit,
        evse_id=st.integers(0, 9),
        limit_milliamp=st.integers(0, 1_000_000),
        profile_id=NUMBERS,
        stack_level=st.integers(0, 9),
        phases=maybe(st.integers(1, 3)),
    ),
    st.builds(c.ClearLimit, evse_id=maybe(EVSES), profile_id=maybe(NUMBERS)),
    st.builds(
        c.GetCompositeSchedule, evse_id=EVSES, duration_s=NUMBERS, unit=st.sampled_from(["A", "W", None])
    ),
    st.builds(
        c.RemoteStart,
        evse_id=maybe(EVSES),
        id_token=WORDS,
        remote_start_id=NUMBERS,
        id_token_type=TOKEN_TYPES,
    ),
    st.builds(c.RemoteStop, transaction_id=TRANSACTIONS),
    st.builds(c.GetTransactionStatus, transaction_id=maybe(TRANSACTIONS)),
    st.builds(
        c.UpdateFirmware,
        location=st.just("https://example.org/fw.bin"),
        retrieve_at=TIMES,
        request_id=NUMBERS,
        install_at=maybe(TIMES),
        signing_certificate=maybe(WORDS),
        signature=maybe(WORDS),
    ),
    st.builds(c.Reset, kind=st.sampled_from(["soft", "hard"]), evse_id=maybe(EVSES)),
    st.builds(c.UnlockConnector, evse_id=EVSES, connector_id=EVSES),
    st.builds(c.ChangeAvailability, operative=st.booleans(), evse_id=EVSES, connector_id=maybe(EVSES)),
    st.builds(
        c.TriggerMessage,
        message=st.sampled_from(
            [
                "boot",
                "heartbeat",
                "status",
                "meter_values",
                "firmware_status",
                "log_status",
                "sign_certificate",
                "transaction",
                "publish_firmware_status",
                "sign_v2g_certificate",
                "sign_combined_certificate",
            ]
        ),
        evse_id=EVSES,
        connector_id=maybe(EVSES),
    ),
    st.builds(
        c.ReserveNow,
        reservation_id=NUMBERS,
        evse_id=st.integers(0, 9),
        id_token=WORDS,
        expires_at=TIMES,
        id_token_type=TOKEN_TYPES,
        group_id=maybe(WORDS),
    ),
    st.builds(c.CancelReservation, reservation_id=NUMBERS),
    st.builds(
        c.SendLocalList,
        list_version=NUMBERS,
        full=st.booleans(),
        entries=st.lists(ENTRIES, max_size=4).map(tuple),
    ),
    st.builds(c.GetLocalListVersion),
    st.builds(c.ClearCache),
    st.builds(
        c.GetLog,
        log=st.sampled_from(["diagnostics", "security"]),
        location=st.just("https://example.org/logs"),
        request_id=NUMBERS,
        oldest=maybe(TIMES),
        latest=maybe(TIMES),
    ),
    st.builds(
        c.GetVariables,
        variables=st.lists(st.builds(c.Variable, name=NAMES), min_size=1, max_size=5).map(tuple),
    ),
    st.builds(
        c.SetVariables,
        values=st.lists(st.builds(c.VariableValue, name=NAMES, value=WORDS), min_size=1, max_size=5).map(
            tuple
        ),
    ),
    st.builds(
        c.GetBaseReport, request_id=NUMBERS, kind=st.sampled_from(["configuration", "full", "summary"])
    ),
    st.builds(c.InstallCertificate, use=USES, certificate=WORDS),
    st.builds(
        c.DeleteCertificate,
        hash_algorithm=st.sampled_from(["SHA256", "SHA384", "SHA512"]),
        issuer_name_hash=HEX,
        issuer_key_hash=HEX,
        serial_number=HEX,
    ),
    st.builds(c.GetInstalledCertificateIds, use=st.none() | USES),
    st.builds(
        c.CertificateSigned,
        certificate_chain=WORDS,
        use=st.sampled_from(["station", "v2g", "v2g20"]),
        request_id=maybe(NUMBERS),
    ),
    st.builds(c.DataTransfer, vendor_id=WORDS, message_id=maybe(WORDS), data=maybe(WORDS)),
    st.builds(
        c.CostUpdated,
        transaction_id=TRANSACTIONS,
        total_minor=st.integers(0, 10**9),
        minor_digits=st.integers(0, 4),
    ),
    st.builds(
        c.SetDisplayMessage,
        message_id=NUMBERS,
        text=WORDS,
        priority=st.sampled_from(["AlwaysFront", "InFront", "NormalCycle"]),
        format=st.sampled_from(["ASCII", "HTML", "URI", "UTF8"]),
        language=maybe(SHORT),
        state=st.sampled_from(["Charging", "Faulted", "Idle", "Unavailable", None]),
        transaction_id=maybe(TRANSACTIONS),
        starts_at=maybe(TIMES),
        ends_at=maybe(TIMES),
    ),
    st.builds(
        c.CustomerInformation,
        request_id=NUMBERS,
        report=st.booleans(),
        clear=st.booleans(),
        id_token=maybe(WORDS),
        id_token_type=TOKEN_TYPES,
        customer_id=maybe(WORDS),
    ),
)
