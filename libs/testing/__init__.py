"""What tests and benchmarks share: Kafka in memory, and a reader of topics."""
