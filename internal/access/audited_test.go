package access

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/internal/store"
)

func TestActors(t *testing.T) {
	ctx := WithOrigin(context.Background(), Origin{Via: "api", Address: "192.0.2.7", Agent: "curl/8"})
	for name, x := range map[string]struct {
		c    *Caller
		want [3]string
		from bool
	}{
		"a key":            {&Caller{Key: 7, Known: "CI"}, [3]string{ActorKey, "key_0000000000007", "CI"}, true},
		"an operator":      {&Caller{Key: 7, Session: 9, Name: "session", Known: "ann"}, [3]string{ActorSession, "ses_0000000000009", "ann"}, true},
		"a portal":         {&Caller{Key: 7, Session: 9, Portal: true, Known: "no", User: "bob"}, [3]string{ActorPortal, "ses_0000000000009", "bob"}, true},
		"a signature":      {&Caller{Name: "signature"}, [3]string{ActorSignature, "", ""}, true},
		"a developer":      {&Caller{Name: "development"}, [3]string{ActorDevelopment, "", ""}, true},
		"the system":       {nil, [3]string{ActorSystem, "", ""}, false},
		"the system's job": {&Caller{Name: "job", Permissions: []Permission{Admin}}, [3]string{ActorSystem, "", ""}, false},
	} {
		e := AuditEntry(ctx, x.c, Change{Action: "link.paused"})
		if got := [3]string{e.ActorKind, e.Actor, e.ActorName}; got != x.want {
			t.Errorf("%s is written down as %q, want %q", name, got, x.want)
		}
		if (e.Address != "") != x.from || (e.Via != "") != x.from || (e.Agent != "") != x.from {
			t.Errorf("%s comes from %q by %q with %q", name, e.Address, e.Via, e.Agent)
		}
	}
}

func TestCompare(t *testing.T) {
	type thing struct {
		Name   string         `json:"name"`
		Tags   []string       `json:"tags"`
		On     bool           `json:"on"`
		Rate   float64        `json:"rate,omitempty"`
		Deep   map[string]any `json:"deep"`
		Hidden string         `json:"hidden"`
	}
	got := Compare(&thing{Name: "a", On: true, Hidden: "x"}, &thing{Tags: []string{"t"}, Rate: 2, Deep: map[string]any{}, Hidden: "y"}, "hidden")
	want := []Field{{"name", "a", nil}, {"on", true, false}, {"rate", nil, 2.0}, {"tags", nil, []any{"t"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := Compare(nil, &thing{}); got != nil {
		t.Errorf("of nothing there is %v", got)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	long := strings.Repeat("é", 5000)
	var many []Field
	for range 500 {
		many = append(many, Field{long, long, []string{long, long}})
	}
	e := AuditEntry(WithOrigin(context.Background(), Origin{Agent: long, Address: long}), &Caller{Key: 1, Known: long}, Change{Object: long, Title: long, Fields: many})
	if n := len(e.Changes); n > 200_000 || !json.Valid(e.Changes) {
		t.Errorf("changes take %d bytes", n)
	}
	for _, s := range []string{e.Object, e.Title, e.ActorName, e.Agent, e.Address} {
		if len(s) > auditName || !utf8.ValidString(s) {
			t.Errorf("%d bytes are kept of %q", len(s), s[:10])
		}
	}
}

// TestNamesReadAsTheyAre: what turns the direction of a line or controls a terminal does not stand in the log, in which people
// look for who it was.
func TestNamesReadAsTheyAre(t *testing.T) {
	const hostile = "ann\u202e\u2066gro.elpmaxe\u009b31m\u2028\x1bbob"
	ctx := WithOrigin(context.Background(), Origin{Via: "web", Agent: ClipAgent(hostile)})
	e := AuditEntry(ctx, &Caller{Session: 1, Known: hostile}, Change{Title: hostile})
	for _, s := range []string{e.Title, e.ActorName, e.Agent, ClipAgent(hostile)} {
		if s != "ann  gro.elpmaxe 31m  bob" {
			t.Errorf("%q is kept", s)
		}
	}
	if s := "Zoë 日本 👩\u200d🔧"; AuditEntry(ctx, nil, Change{Title: s}).Title != s {
		t.Error("what people write is changed")
	}
}

func FuzzAuditEntry(f *testing.F) {
	f.Add("a\x00b\nc", "\xff\xfe", `{"x":[1,2]}`)
	f.Fuzz(func(t *testing.T, title, agent, value string) {
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		}
		ctx := WithOrigin(context.Background(), Origin{Via: "api", Agent: ClipAgent(agent)})
		e := AuditEntry(ctx, &Caller{Key: 1, Known: title}, Change{Title: title, Fields: []Field{{title, nil, v}}})
		for _, s := range []string{e.Title, e.ActorName, e.Agent, string(e.Changes)} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q is kept", s)
			}
		}
		if !json.Valid(e.Changes) {
			t.Errorf("%s is no JSON", e.Changes)
		}
	})
}

func TestAuditedReachesTheStore(t *testing.T) {
	ctx := Audited(context.Background(), &Caller{Key: 7}, Change{Action: "key.created"})
	e, written := store.AuditOf(ctx)
	if e == nil || e.Action != "key.created" {
		t.Fatalf("the store is to write %+v", e)
	}
	written()
	if e, _ := store.AuditOf(ctx); e != nil {
		t.Errorf("and once more %+v", e)
	}
}
