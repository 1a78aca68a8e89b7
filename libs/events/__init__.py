"""The contract in code: records, ids, the topic catalogue and the Avro wire format."""
