"""Every metric of the edge, declared once. Label values are bounded: known actions, versions and codes only."""

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge("voltbus_edge_connections", "Open websockets.", ["version"])
OPENED = Counter("voltbus_edge_connections_opened", "Websockets accepted.", ["version"])
CLOSED = Counter("voltbus_edge_connections_closed", "Websockets gone, by who or what ended them.", ["cause"])
REFUSED = Counter("voltbus_edge_connections_refused", "Handshakes refused.", ["reason"])
LOOKED_AGAIN = Counter(
    "voltbus_edge_looked_again",
    "Refusals before which the read models were read on: reached, or late (that could not be told in time).",
    ["result"],
)
TLS_FAILURES = Counter("voltbus_edge_tls_failures", "TLS handshakes that failed, by cause.", ["cause"])
TLS_RELOADS = Counter("voltbus_edge_tls_reloads", "Changed TLS files, read or unusable.", ["result"])
TLS_EXPIRES = Gauge(
    "voltbus_edge_tls_expires_seconds", "When our certificate, or the revocation list, expires.", ["file"]
)
HANDSHAKES_CUT = Counter("voltbus_edge_handshakes_cut", "Connections that never became a websocket.")
ANSWER_SECONDS = Histogram(
    "voltbus_edge_answer_seconds",
    "From reading a call to writing its answer, Kafka's acknowledgement in between; its count is that of the calls.",
    ["version", "action"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FRAMES_REJECTED = Counter("voltbus_edge_frames_rejected", "Unusable frames and calls.", ["version", "code"])
RESTS = Counter(
    "voltbus_edge_station_rests",
    "Times that a station's messages waited since it had taken more than its share.",
)
REST_SECONDS = Counter("voltbus_edge_station_rest_seconds", "How long they waited.")
COMMANDS = Counter("voltbus_edge_commands", "Commands sent, by outcome.", ["outcome"])
DISPATCH_REFUSED = Counter("voltbus_edge_dispatches_refused", "Commands not sent.", ["reason"])
DEFERRED = Counter(
    "voltbus_edge_deferred_calls",
    "Calls left to a processor, by who decided: PROCESSOR, FALLBACK (nobody did in time), lost (the socket went).",
    ["action", "outcome"],
)
ANSWERS_DROPPED = Counter(
    "voltbus_edge_answers_dropped",
    "Processors' answers that no charger got: gone (its connection), late (or the second one), invalid.",
    ["reason"],
)
COMMAND_SECONDS = Histogram("voltbus_edge_command_seconds", "From writing a command to its end.")
CSRS = Counter("voltbus_edge_certificate_requests", "SignCertificate, by the answer.", ["status"])
BUS_TIMEOUTS = Counter("voltbus_edge_bus_timeouts", "Sockets closed because Kafka did not acknowledge.")
PRODUCER_RENEWALS = Counter("voltbus_edge_producer_renewals", "Producers replaced after a failure.")
OUTBOX = Gauge("voltbus_edge_outbox_records", "Closings and command results not yet acknowledged.")
UNACKNOWLEDGED = Gauge("voltbus_edge_unacknowledged_bytes", "Payloads under way to Kafka.")
INTERNAL_ERRORS = Counter("voltbus_edge_internal_errors", "Calls that failed for a fault of ours.")
