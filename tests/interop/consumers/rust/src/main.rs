//! Reads a topic of the platform with rdkafka and apache-avro: consumer BOOTSTRAP REGISTRY TOPIC COUNT [READER_SCHEMA].
//!
//! Prints a line of JSON for each record: `record` (its name) and `value`, `removed` with the key of a tombstone, or
//! `failed` with the reason.

use apache_avro::types::Value;
use apache_avro::{from_avro_datum, Schema};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use std::collections::HashMap;
use std::error::Error;

struct Decoder {
    registry: String,
    own: Option<Schema>,
    schemas: HashMap<u32, Schema>,
}

impl Decoder {
    /// The record of a value: a zero byte, four bytes of schema id, Avro.
    fn decode(&mut self, value: &[u8]) -> Result<(String, Value), Box<dyn Error>> {
        let id = u32::from_be_bytes(value[1..5].try_into()?);
        if !self.schemas.contains_key(&id) {
            let address = format!("{}/schemas/ids/{}", self.registry, id);
            let answer: serde_json::Value = ureq::get(&address).call()?.into_json()?;
            let text = answer["schema"].as_str().ok_or("no schema")?;
            self.schemas.insert(id, Schema::parse_str(text)?);
        }
        let schema = &self.schemas[&id];
        match (from_avro_datum(schema, &mut &value[5..], self.own.as_ref())?, schema) {
            (Value::Union(place, inner), Schema::Union(branches)) => {
                let kinds = match &self.own {
                    Some(Schema::Union(own)) => own,
                    _ => branches,
                };
                Ok((name(&kinds.variants()[place as usize]), *inner))
            }
            (record, _) => Ok((name(schema), record)),
        }
    }
}

fn name(schema: &Schema) -> String {
    schema.name().map(|name| name.fullname(None)).unwrap_or_default()
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let own = match given.get(4) {
        Some(file) => Some(Schema::parse_str(&std::fs::read_to_string(file)?)?),
        None => None,
    };
    let mut decoder = Decoder { registry: given[1].clone(), own, schemas: HashMap::new() };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &given[0])
        .set("group.id", "rust-consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    consumer.subscribe(&[&given[2]])?;
    for message in consumer.iter().take(given[3].parse()?) {
        let message = message?;
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        let line = match message.payload().map(|value| decoder.decode(value)) {
            None => serde_json::json!({"removed": key}),
            Some(Ok((record, value))) => {
                serde_json::json!({"record": record, "value": serde_json::Value::try_from(value)?})
            }
            Some(Err(error)) => serde_json::json!({"failed": error.to_string()}),
        };
        println!("{line}");
    }
    Ok(())
}
