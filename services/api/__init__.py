"""The operators' API: REST and live events over HTTP. Writes only commands, campaigns and registry events."""
