// Read a topic of the platform with kafkajs and avsc: consumer.js BOOTSTRAP REGISTRY TOPIC COUNT [READER_SCHEMA].
// Prints a line of JSON for each record: `record` (its name) and `value`, `removed` with the key of a tombstone, or
// `failed` with the reason.

const fs = require("fs");
const avro = require("avsc");
const lz4 = require("lz4-napi");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");

// The platform compresses with LZ4, which kafkajs does not bring along.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});

// Microseconds of today are safe integers, so that longs stay numbers. Branches of unions other than with null are named.
const read = (schema) => avro.Type.forSchema(schema, { wrapUnions: "auto" });

const [bootstrap, registry, topic, count, readerFile] = process.argv.slice(2);
const reader = readerFile && read(JSON.parse(fs.readFileSync(readerFile, "utf8")));
const decoders = new Map();

async function decoder(id) {
  if (!decoders.has(id)) {
    const answer = await fetch(`${registry}/schemas/ids/${id}`);
    if (!answer.ok) throw new Error(`schema ${id}: HTTP ${answer.status}`);
    const writer = read(JSON.parse((await answer.json()).schema));
    const type = reader || writer;
    decoders.set(id, { type, resolver: reader && reader.createResolver(writer) });
  }
  return decoders.get(id);
}

async function main() {
  const kafka = new Kafka({ brokers: bootstrap.split(","), logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId: "node-consumer", readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let left = Number(count);
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      if (left-- <= 0) return;
      try {
        if (message.value === null) return console.log(JSON.stringify({ removed: String(message.key) }));
        const { type, resolver } = await decoder(message.value.readInt32BE(1));
        const value = type.fromBuffer(message.value.subarray(5), resolver);
        // A record of a union is an object of one property, its full name.
        const [name, fields] = type.typeName.startsWith("union") ? Object.entries(value)[0] : [type.name, value];
        console.log(JSON.stringify({ record: name, value: fields }));
      } catch (error) {
        console.log(JSON.stringify({ failed: String(error) }));
      } finally {
        if (left === 0) setImmediate(() => consumer.disconnect().then(() => process.exit(0)));
      }
    },
  });
}

main();
