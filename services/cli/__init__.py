"""The operators' command line, `voltbus`: the API over HTTP, and a few tools that talk to Kafka themselves."""
