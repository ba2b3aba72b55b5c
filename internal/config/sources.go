package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
)

// NATSSource is a stream of a NATS JetStream that events are taken from.
type NATSSource struct {
	// URL may hold a password.
	URL                 patchbay.Secret
	Credentials         string
	Stream, Consumer    string
	Subject             []string
	Type, Scope, Within string
	DeadLetter          string
	InFlight            int
}

// NATS are the streams that events are taken from, by names of the operator's.
type NATS map[string]NATSSource

var natsSettings = map[string]func(*NATSSource, string) error{
	"url":         func(s *NATSSource, v string) error { s.URL = patchbay.Secret(v); return nil },
	"credentials": func(s *NATSSource, v string) error { s.Credentials = v; return nil },
	"stream":      func(s *NATSSource, v string) error { s.Stream = v; return nil },
	"consumer":    func(s *NATSSource, v string) error { s.Consumer = v; return nil },
	"subject":     func(s *NATSSource, v string) error { s.Subject = append(s.Subject, split(v)...); return nil },
	"type":        func(s *NATSSource, v string) error { s.Type = v; return nil },
	"scope":       func(s *NATSSource, v string) error { s.Scope = v; return nil },
	"within":      func(s *NATSSource, v string) error { s.Within = v; return nil },
	"dead-letter": func(s *NATSSource, v string) error { s.DeadLetter = v; return nil },
	"in-flight": func(s *NATSSource, v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 || n > maxInFlight {
			return fmt.Errorf("in-flight: %q is not a number from 1 to %d", v, maxInFlight)
		}
		s.InFlight = int(n)
		return nil
	},
}

// maxInFlight is more than one database takes in at the same time.
const maxInFlight = 4096

// UnmarshalText reads "orders.url=nats://broker:4222", or a JSON object of objects, and adds to what it has.
func (n *NATS) UnmarshalText(text []byte) error {
	if *n == nil {
		*n = NATS{}
	}
	return readSources(string(text), *n, natsSettings, "orders.url=nats://broker:4222")
}

// OutboxSource is a product's database that has an outbox.
type OutboxSource struct {
	// Database is a URL, which may hold a password.
	Database patchbay.Secret
	// Table is the outbox's, "" means patchbay_outbox.
	Table  string
	Within string
}

// Outbox are the products' databases that events are taken from, by names of the operator's.
type Outbox map[string]OutboxSource

var outboxSettings = map[string]func(*OutboxSource, string) error{
	"database": func(s *OutboxSource, v string) error { s.Database = patchbay.Secret(v); return nil },
	"table":    func(s *OutboxSource, v string) error { s.Table = v; return nil },
	"within":   func(s *OutboxSource, v string) error { s.Within = v; return nil },
}

// theOutbox is the name of an outbox that was given as a URL alone.
const theOutbox = "outbox"

// UnmarshalText reads the URL of a database, "shop.database=postgres://…", or a JSON object of objects, and adds to
// what it has.
func (o *Outbox) UnmarshalText(text []byte) error {
	if *o == nil {
		*o = Outbox{}
	}
	s := strings.TrimSpace(string(text))
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		(*o)[theOutbox] = OutboxSource{Database: patchbay.Secret(s)}
		return nil
	}
	return readSources(s, *o, outboxSettings, "shop.database=postgres://USER:PASSWORD@HOST:5432/NAME")
}

// readSources reads settings of sources. No value stands in an error: it may be a secret.
func readSources[T any](text string, into map[string]T, settings map[string]func(*T, string) error, example string) error {
	set := func(name, setting, value string) error {
		if scope, err := patchbay.ParseScope(name); err != nil || scope.Depth() != 1 {
			return fmt.Errorf("%q is not a name for a source: write 1 to 64 letters, digits, dots or dashes", name)
		}
		take := settings[setting]
		if take == nil {
			return fmt.Errorf("%q is not a setting of a source; there are %s", setting, strings.Join(slices.Sorted(maps.Keys(settings)), ", "))
		}
		source := into[name]
		if err := take(&source, value); err != nil {
			return err
		}
		into[name] = source
		return nil
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil
	case !strings.HasPrefix(text, "{"):
		path, value, ok := strings.Cut(text, "=")
		name, setting, dotted := strings.Cut(path, ".")
		if !ok || !dotted || name == "" || setting == "" {
			return fmt.Errorf("write NAME.SETTING=VALUE, such as %s", example)
		}
		return set(name, setting, value)
	}
	var in map[string]map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return fmt.Errorf("write an object for each source, with its settings, such as %s", example)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if len(in[name]) == 0 {
			return fmt.Errorf("%s: there are no settings", name)
		}
		for _, setting := range slices.Sorted(maps.Keys(in[name])) {
			values, err := texts(in[name][setting])
			if err != nil {
				return fmt.Errorf("%s.%s: %w", name, setting, err)
			}
			for _, value := range values {
				if err := set(name, setting, value); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	return nil
}

// texts reads a text, a number, or a list of them.
func texts(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	out := make([]string, len(list))
	for i, element := range list {
		var number json.Number
		if err := json.Unmarshal(element, &out[i]); err != nil {
			if err := json.Unmarshal(element, &number); err != nil {
				return nil, fmt.Errorf("write a text, a number or a list of texts")
			}
			out[i] = number.String()
		}
	}
	return out, nil
}

func (c *Config) checkSources() error {
	for _, name := range slices.Sorted(maps.Keys(c.NATS)) {
		s := c.NATS[name]
		at := "nats." + name
		switch {
		case s.URL == "":
			return wrong(at, "url is missing: the broker's address, such as nats://broker:4222")
		case s.Stream == "":
			return wrong(at, "stream is missing: the name of the stream to take events from")
		case s.Scope != "" && s.Type == "":
			return wrong(at, "scope goes with type: without type each message is a whole event, which says its scope itself")
		case strings.ContainsAny(s.Consumer, ".*> \t"):
			return wrong(at, "consumer %q has a character that names of consumers cannot have: leave out dots, stars, > and spaces", s.Consumer)
		}
		if _, err := patchbay.ParseScope(s.Within); err != nil {
			return wrong(at, "within: %v", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Outbox)) {
		s := c.Outbox[name]
		at := "outbox." + name
		url := s.Database.Reveal()
		if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
			return wrong(at, "database is not the URL of a PostgreSQL database: write postgres://USER:PASSWORD@HOST:5432/NAME")
		}
		if _, err := parseDatabase(url); err != nil {
			return wrong(at, "%v", err)
		}
		if !validTable(s.Table) {
			return wrong(at, "table %q is not a name of a table: write NAME or SCHEMA.NAME, in lower case letters, digits and underscores", s.Table)
		}
		if _, err := patchbay.ParseScope(s.Within); err != nil {
			return wrong(at, "within: %v", err)
		}
	}
	return nil
}

// validTable reports whether a name needs no quotes in SQL; "" is the default.
func validTable(name string) bool {
	if name == "" {
		return true
	}
	parts := strings.Split(name, ".")
	for _, part := range parts {
		if part == "" || len(part) > 55 || part[0] >= '0' && part[0] <= '9' || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return len(parts) <= 2
}
