"""Read a topic of the platform with confluent-kafka: consumer.py BOOTSTRAP REGISTRY TOPIC COUNT [READER_SCHEMA].

Prints a line of JSON for each record: `record` (its name) and `value`, `removed` with the key of a tombstone, or
`failed` with the reason. Without a reader's
schema every record is read by the schema that it was written with.
"""

import json
import sys
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from fastavro.read import SchemaResolutionError


def main(bootstrap: str, registry: str, topic: str, count: int, schema: str | None) -> None:
    # Without return_record_name the kinds of a topic with several cannot be told apart.
    decode = AvroDeserializer(SchemaRegistryClient({"url": registry}), schema, return_record_name=True)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "python-consumer",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    for _ in range(count):
        while (message := consumer.poll(1.0)) is None:
            pass
        if message.value() is None:
            print(json.dumps({"removed": (message.key() or b"").decode()}), flush=True)
            continue
        try:
            value = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
        except (SerializationError, SchemaResolutionError) as error:
            print(json.dumps({"failed": repr(error)}), flush=True)
            continue
        # Of a topic with one kind it is the value itself.
        name, value = value if isinstance(value, tuple) else ("", value)
        print(json.dumps({"record": name, "value": value}, default=str), flush=True)
    consumer.close()


if __name__ == "__main__":
    bootstrap, registry, topic, count, *reader = sys.argv[1:]
    main(bootstrap, registry, topic, int(count), Path(reader[0]).read_text() if reader else None)
