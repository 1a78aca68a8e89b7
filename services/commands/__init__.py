"""The command ledger: routes every command to the socket's holder and records its one fate. Bulk commands."""
