// A charger on github.com/lorenzodonini/ocpp-go: charger ENDPOINT STATION SUBPROTOCOL
//
// It prints one JSON object per line for each thing that happened.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/lorenzodonini/ocpp-go/ws"
)

// vocabulary is what a charger says, in the words of one version.
type vocabulary interface {
	connect(endpoint string) error
	disconnect()
	boot() (status string, err error)
	status(status string) error
	authorise(token string) (status string, err error)
	start(token string, remoteStartID *int, wh int) (transaction string, err error)
	meter(transaction string, wh int) error
	stop(transaction string, token string, wh int) error
	heartbeat() error
}

// charger is the part that is the same for every version. Handlers of commands, which run on the connection's
// goroutine, answer at once and leave the work that they ask for to the main goroutine in jobs.
type charger struct {
	endpoint string
	words    vocabulary
	jobs     chan func() error
	wh       int
	token    string
	// transaction holds the running transaction's id, "" if none runs; both goroutines use it.
	transaction atomic.Value
}

func (c *charger) running() string { return c.transaction.Load().(string) }

func tell(did string, facts map[string]any) {
	line := map[string]any{"did": did}
	for name, value := range facts {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func asked(action string) { tell("asked", map[string]any{"action": action}) }

func client(station string) (ws.WsClient, error) {
	client := ws.NewClient()
	if path := os.Getenv("CHARGER_CA"); path != "" {
		authority, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		configuration := &tls.Config{RootCAs: x509.NewCertPool()}
		configuration.RootCAs.AppendCertsFromPEM(authority)
		if path := os.Getenv("CHARGER_CERTIFICATE"); path != "" {
			own, err := tls.LoadX509KeyPair(path, os.Getenv("CHARGER_KEY"))
			if err != nil {
				return nil, err
			}
			configuration.Certificates = []tls.Certificate{own}
		}
		client = ws.NewTLSClient(configuration)
	}
	if password := os.Getenv("CHARGER_PASSWORD"); password != "" {
		client.SetBasicAuth(station, password)
	}
	return client, nil
}

func (c *charger) connect(subprotocol string) error {
	if err := c.words.connect(c.endpoint); err != nil {
		return err
	}
	tell("connected", map[string]any{"subprotocol": subprotocol})
	status, err := c.words.boot()
	if err != nil {
		return err
	}
	tell("booted", map[string]any{"status": status})
	return c.words.status("Available")
}

func (c *charger) start(token string, remoteStartID *int) error {
	if err := c.words.status("Occupied"); err != nil {
		return err
	}
	transaction, err := c.words.start(token, remoteStartID, c.wh)
	if err != nil {
		return err
	}
	c.transaction.Store(transaction)
	c.token = token
	tell("started", map[string]any{"transaction": transaction, "wh": c.wh})
	for sample := 0; sample < 3; sample++ {
		c.wh += 500
		if err := c.words.meter(transaction, c.wh); err != nil {
			return err
		}
	}
	tell("metered", map[string]any{"wh": c.wh})
	return nil
}

func (c *charger) stop() error {
	c.wh += 500
	transaction := c.running()
	if err := c.words.stop(transaction, c.token, c.wh); err != nil {
		return err
	}
	c.transaction.Store("")
	if err := c.words.status("Available"); err != nil {
		return err
	}
	tell("stopped", map[string]any{"transaction": transaction, "wh": c.wh})
	return nil
}

// trigger says whether the message can be sent, and sends it later.
func (c *charger) trigger(message string) bool {
	send := map[string]func() error{
		"StatusNotification": func() error { return c.words.status("Available") },
		"Heartbeat":          c.words.heartbeat,
	}[message]
	if send == nil {
		return false
	}
	c.jobs <- func() error {
		if err := send(); err != nil {
			return err
		}
		tell("triggered", map[string]any{"action": message})
		return nil
	}
	return true
}

func (c *charger) run(subprotocol string) error {
	if err := c.connect(subprotocol); err != nil {
		return err
	}
	status, err := c.words.authorise("CARD")
	if err != nil {
		return err
	}
	tell("authorised", map[string]any{"status": status})
	if err := c.start("CARD", nil); err != nil {
		return err
	}
	for job := range c.jobs {
		if err := job(); err != nil {
			return err
		}
	}
	return nil
}

func (c *charger) restart(subprotocol string) {
	c.jobs <- func() error {
		time.Sleep(200 * time.Millisecond) // a charger that restarts has answered first
		c.words.disconnect()
		if err := c.connect(subprotocol); err != nil {
			return err
		}
		tell("restarted", nil)
		return nil
	}
}

func main() {
	endpoint, station, subprotocol := os.Args[1], os.Args[2], os.Args[3]
	c := &charger{endpoint: endpoint, jobs: make(chan func() error, 16), wh: 1000}
	c.transaction.Store("")
	client, err := client(station)
	if err != nil {
		panic(err)
	}
	switch subprotocol {
	case "ocpp1.6":
		c.words = newV16(c, station, client)
	case "ocpp2.0.1":
		c.words = newV201(c, station, client)
	default:
		panic("the library has no " + subprotocol)
	}
	if err := c.run(subprotocol); err != nil {
		tell("failed", map[string]any{"error": err.Error()})
		os.Exit(1)
	}
}
