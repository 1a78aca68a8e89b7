"""Commands to chargers: asked for, handed to the ledger, their outcomes awaited."""
