// Read a topic of the platform with franz-go and hamba/avro: consumer BOOTSTRAP REGISTRY TOPIC COUNT [READER_SCHEMA].
// Prints a line of JSON for each record: `record` (its name) and `value`, `removed` with the key of a tombstone, or
// `failed` with the reason.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

type decoder struct {
	registry string
	reader   avro.Schema
	schemas  map[uint32]avro.Schema
}

// schema gives the one to read values of an id by: the writer's, or how the reader's is read from it.
func (d *decoder) schema(id uint32) (avro.Schema, error) {
	if known, ok := d.schemas[id]; ok {
		return known, nil
	}
	answer, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", d.registry, id))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var body struct{ Schema string }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return nil, err
	}
	// A cache of its own: the names of an older and a newer schema are the same.
	schema, err := avro.ParseWithCache(body.Schema, "", &avro.SchemaCache{})
	if err == nil && d.reader != nil {
		schema, err = avro.NewSchemaCompatibility().Resolve(d.reader, schema)
	}
	if err == nil {
		d.schemas[id] = schema
	}
	return schema, err
}

func (d *decoder) decode(value []byte) (string, any, error) {
	schema, err := d.schema(binary.BigEndian.Uint32(value[1:5]))
	if err != nil {
		return "", nil, err
	}
	var found any
	if err := avro.Unmarshal(schema, value[5:], &found); err != nil {
		return "", nil, err
	}
	fields := found.(map[string]any)
	if record, ok := schema.(*avro.RecordSchema); ok {
		return record.FullName(), fields, nil
	}
	// A record of a union is a map of one entry, its full name.
	for name, inner := range fields {
		return name, inner, nil
	}
	return "", nil, fmt.Errorf("an empty value")
}

func main() {
	bootstrap, registry, topic := os.Args[1], os.Args[2], os.Args[3]
	count, _ := strconv.Atoi(os.Args[4])
	d := decoder{registry: registry, schemas: map[uint32]avro.Schema{}}
	if len(os.Args) > 5 {
		d.reader = avro.MustParse(string(must(os.ReadFile(os.Args[5]))))
	}
	client := must(kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	))
	defer client.Close()
	out := json.NewEncoder(os.Stdout)
	for count > 0 {
		client.PollFetches(context.Background()).EachRecord(func(record *kgo.Record) {
			if count--; count < 0 {
				return
			}
			if record.Value == nil {
				out.Encode(map[string]any{"removed": string(record.Key)})
			} else if name, value, err := d.decode(record.Value); err != nil {
				out.Encode(map[string]any{"failed": err.Error()})
			} else {
				out.Encode(map[string]any{"record": name, "value": value})
			}
		})
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
