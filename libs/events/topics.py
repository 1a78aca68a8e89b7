"""The names of the topics, once. What each carries, and who writes and reads it: `proto_schemas/topics`."""

from typing import Final

ACCESS_ACCOUNTS: Final = "access.accounts"
ACCESS_KEYS: Final = "access.keys"
ACCESS_SIGN_INS: Final = "access.sign-ins"

AUDIT_EVENTS: Final = "audit.events"

BILLING_CDRS: Final = "billing.cdrs"
BILLING_CDRS_LATEST: Final = "billing.cdrs.latest"
BILLING_DECIDED: Final = "billing.decided"
BILLING_DECISIONS: Final = "billing.decisions"
BILLING_PLAN_MONTHS: Final = "billing.plan-months"
BILLING_PREPAID: Final = "billing.prepaid"
BILLING_PREPAID_ASKED: Final = "billing.prepaid-asked"

COMMANDS_BULK: Final = "commands.bulk"
COMMANDS_BULK_PROGRESS: Final = "commands.bulk-progress"
COMMANDS_BULK_STATIONS: Final = "commands.bulk-stations"
COMMANDS_DISPATCH: Final = "commands.dispatch"
COMMANDS_OUTCOMES: Final = "commands.outcomes"
COMMANDS_REQUESTED: Final = "commands.requested"

CONSOLE_VIEWS: Final = "console.views"

EDGE_CONNECTIONS: Final = "edge.connections"

FIRMWARE_CAMPAIGNS: Final = "firmware.campaigns"
FIRMWARE_PROGRESS: Final = "firmware.progress"
FIRMWARE_TASKS: Final = "firmware.tasks"

LOAD_OBSERVATIONS: Final = "load.observations"
LOAD_PLANS: Final = "load.plans"
LOAD_STATIONS: Final = "load.stations"

OCPP_COMMANDS: Final = "ocpp.commands"
OCPP_LIFECYCLE: Final = "ocpp.lifecycle"
OCPP_REJECTED: Final = "ocpp.rejected"
OCPP_TRANSACTIONS: Final = "ocpp.transactions"

REGISTRY_CREDENTIALS: Final = "registry.credentials"
REGISTRY_ORGANISATIONS: Final = "registry.organisations"
REGISTRY_SITES: Final = "registry.sites"
REGISTRY_STATIONS: Final = "registry.stations"
REGISTRY_TARIFFS: Final = "registry.tariffs"
REGISTRY_TOKENS: Final = "registry.tokens"

SECURITY_ALERTS: Final = "security.alerts"

SESSIONS_EVENTS: Final = "sessions.events"
SESSIONS_EVIDENCE: Final = "sessions.evidence"
SESSIONS_LATEST: Final = "sessions.latest"

STATIONS_CAPABILITIES: Final = "stations.capabilities"
STATIONS_LATEST: Final = "stations.latest"

TELEMETRY_HEALTH: Final = "telemetry.health"
TELEMETRY_MEASUREMENTS: Final = "telemetry.measurements"
