"""Every metric of the API, declared once."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "voltbus_api_request_seconds",
    "Requests by route and status, from the head to the end of the answer.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
REFUSED = Counter("voltbus_api_unauthorised_requests", "Requests without the right key.")
WRONG_KEYS_THROTTLED = Counter(
    "voltbus_api_wrong_keys_throttled", "Wrong keys from addresses that had sent too many, answered 429."
)
WRONG_PASSWORDS = Counter(
    "voltbus_api_wrong_passwords", "Sign-ins with a wrong name or password, or of a disabled account."
)
PROVIDER_REFUSALS = Counter(
    "voltbus_api_provider_sign_ins_refused",
    "People whom the OpenID provider sent and who got no sign-in.",
    ["reason"],
)
PROVIDER_FAILURES = Counter(
    "voltbus_api_provider_failures", "Requests to the OpenID provider without an answer that can be used."
)
FORBIDDEN = Counter(
    "voltbus_api_forbidden_requests", "Requests without the permission for it.", ["permission"]
)
COMMANDS = Counter("voltbus_api_commands", "Commands handed to the ledger.", ["dialect"])
COMMANDS_WAITING = Gauge("voltbus_api_commands_waiting", "Requests that wait for a command's outcome.")
DISOBEDIENT_EVSES = Gauge(
    "voltbus_api_disobedient_evses",
    "EVSEs of which the plans in force say that they draw more than their share, or may.",
)
STREAM_CLIENTS = Gauge("voltbus_api_stream_clients", "Open event streams.")
STREAM_DROPPED = Counter(
    "voltbus_api_stream_dropped_clients", "Event streams ended because the client was slow."
)
STATIONS_BY_PROFILE = Gauge(
    "voltbus_api_stations_by_profile",
    "Registered stations, by the OCPP security profile that they need.",
    ["profile"],
)
CONNECTIONS_BY_PROFILE = Gauge(
    "voltbus_api_connections_by_profile",
    "Open connections, by the OCPP security profile that they proved.",
    ["profile"],
)
SECURITY_ALERTS = Counter("voltbus_api_security_alerts", "What operators ought to look at.", ["kind"])
BULK_STOPPED = Counter(
    "voltbus_api_bulk_stopped", "Bulk commands that stopped by themselves: too many stations failed."
)
CLAIMS = Counter(
    "voltbus_api_registry_claims",
    "Times that this process became the one that writes the registry: at its first change, after another API process"
    " made one, and after errors.",
)
AUDIT_EVENTS = Counter(
    "voltbus_api_audit_events", "Events of the audit trail that Kafka acknowledged.", ["outcome"]
)
AUDIT_LOST = Counter(
    "voltbus_api_audit_lost_events",
    "Events of the audit trail that could not be written: outcomes of requests whose start is in the trail, and refused"
    " requests.",
)
AUDIT_CHAINS = Counter(
    "voltbus_api_audit_chains", "Chains of the audit trail that were begun: at starts and after failures."
)
