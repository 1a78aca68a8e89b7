package interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a topic of the platform with kafka-clients and Avro: Consumer BOOTSTRAP REGISTRY TOPIC COUNT [READER_SCHEMA].
 *
 * <p>Prints a line of JSON for each record: record (its name) and value, removed with the key of a tombstone, or failed
 * with the reason.
 */
public final class Consumer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private final HttpClient http = HttpClient.newHttpClient();
  private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
  private final String registry;
  private final Schema own;

  private Consumer(String registry, Schema own) {
    this.registry = registry;
    this.own = own;
  }

  public static void main(String[] given) throws Exception {
    Schema own = given.length > 4 ? new Schema.Parser().parse(new File(given[4])) : null;
    Consumer consumer = new Consumer(given[1], own);
    Map<String, Object> settings =
        Map.of(
            "bootstrap.servers", given[0],
            "group.id", "java-consumer",
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false,
            "isolation.level", "read_committed");
    int left = Integer.parseInt(given[3]);
    try (KafkaConsumer<byte[], byte[]> kafka =
        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      kafka.subscribe(List.of(given[2]));
      while (left > 0) {
        for (ConsumerRecord<byte[], byte[]> record : kafka.poll(Duration.ofSeconds(1))) {
          if (left-- > 0) {
            consumer.print(record);
          }
        }
      }
    }
  }

  private void print(ConsumerRecord<byte[], byte[]> found) throws IOException {
    if (found.value() == null) {
      System.out.println(JSON.writeValueAsString(Map.of("removed", new String(found.key()))));
      return;
    }
    try {
      GenericRecord record = decode(found.value());
      // Its text is JSON.
      System.out.printf("{\"record\": \"%s\", \"value\": %s}%n", record.getSchema().getFullName(), record);
    } catch (Exception error) {
      System.out.println(JSON.writeValueAsString(Map.of("failed", error.toString())));
    }
  }

  /** The record of a value: a zero byte, four bytes of schema id, Avro. */
  private GenericRecord decode(byte[] value) throws Exception {
    int id = ByteBuffer.wrap(value, 1, 4).getInt();
    GenericDatumReader<GenericRecord> reader = readers.get(id);
    if (reader == null) {
      Schema writer = schema(id);
      reader = new GenericDatumReader<>(writer, own == null ? writer : own);
      readers.put(id, reader);
    }
    return reader.read(null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
  }

  private Schema schema(int id) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
    String body = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
    return new Schema.Parser().parse(JSON.readTree(body).get("schema").asText());
  }
}
