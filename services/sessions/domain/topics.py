"""The topics that the sessions processor reads and writes."""

from typing import Final

TRANSACTIONS: Final = "ocpp.transactions"
LIFECYCLE: Final = "ocpp.lifecycle"
EVENTS: Final = "sessions.events"
EVIDENCE: Final = "sessions.evidence"

CDRS: Final = "billing.cdrs"
DECISIONS: Final = "billing.decisions"
DECIDED: Final = "billing.decided"
ASKED: Final = "billing.prepaid-asked"
GRANTED: Final = "billing.prepaid"

REQUESTS: Final = "commands.requested"
ANSWERS: Final = "commands.dispatch"
OUTCOMES: Final = "commands.outcomes"

STATIONS: Final = "registry.stations"
SITES: Final = "registry.sites"
TARIFFS: Final = "registry.tariffs"
TOKENS: Final = "registry.tokens"
