"""Print charge records as they are issued: a consumer that knows nothing but Kafka and the schema registry.

pip install "confluent-kafka[avro,schemaregistry]"
python consumer.py localhost:9092 http://localhost:8081/apis/ccompat/v7 [how many]
"""

import sys
from itertools import count

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "billing.cdrs"
# Decimals of a currency's minor unit (ISO 4217); all others have 2.
DIGITS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"], 0),
    **dict.fromkeys(["RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


def main(bootstrap: str, registry: str, limit: int | None = None) -> None:
    """Follow the topic from its beginning; stop after `limit` records if one is given."""
    decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "cdr-printer",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([TOPIC])
    seen: set[str] = set()
    try:
        for _ in count():
            if limit is not None and len(seen) >= limit:
                break
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise SystemExit(str(message.error()))
            cdr = decode(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
            # The platform may write a record again after a crash, with the same id.
            if cdr["event_id"] in seen:
                continue
            seen.add(cdr["event_id"])
            # A charge record, or the credit note (negative) that takes an earlier version of one back.
            cost = amount(cdr["amount_minor"], cdr["currency"])
            print(f"{cdr['ended_at']:%Y-%m-%d %H:%M} {cdr['station_id']}: {cdr['energy_wh']} Wh, {cost}")
    finally:
        consumer.close()


def amount(minor: int, currency: str | None) -> str:
    """Minor units as people write them; a record without a tariff has no currency."""
    if currency is None:
        return "no tariff"
    digits = DIGITS.get(currency, 2)
    return f"{minor / 10**digits:.{digits}f} {currency}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
