package patchbay

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// TestDurationJSON says how durations are written and read.
func TestDurationJSON(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"30s"`: 30 * time.Second, `"5m"`: 5 * time.Minute, `"2h"`: 2 * time.Hour, `"1h30m"`: 90 * time.Minute, `"1h0m1s"`: time.Hour + time.Second,
		`"1.5s"`: 1500 * time.Millisecond, `"0s"`: 0, `"10m"`: 10 * time.Minute, `"-1h"`: -time.Hour, `"20h10m"`: 20*time.Hour + 10*time.Minute,
	} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s was read as %v, %v", text, time.Duration(d), err)
		}
		if raw, err := json.Marshal(d); err != nil || string(raw) != text {
			t.Errorf("%v was written as %s, %v, want %s", want, raw, err, text)
		}
	}
	for text, want := range map[string]time.Duration{
		`30`: 30 * time.Second, `0.5`: 500 * time.Millisecond, `4.35`: 4350 * time.Millisecond, `1e-9`: 1, `-2`: -2 * time.Second, `1e9`: 1e9 * time.Second,
	} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s was read as %v, %v, want %v", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{`"5"`, `"soon"`, `""`, `true`, `[]`, `9223372036.854775807`, `9223372036.8547759`, `-9223372036.8547759`, `1e400`, `1e300`, `"300000h10000000h"`} {
		d := Duration(7)
		if err := json.Unmarshal([]byte(text), &d); err == nil || d != 7 {
			t.Errorf("%s was read as %v, %v", text, time.Duration(d), err)
		}
	}
}

// TestRetryPolicyJSON shows that "never" survives being stored: an empty schedule is not an absent one.
func TestRetryPolicyJSON(t *testing.T) {
	for _, text := range []string{`{}`, `{"schedule":[]}`, `{"schedule":["5s","1m"],"max_age":"1h"}`} {
		var p RetryPolicy
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if raw, err := json.Marshal(p); err != nil || string(raw) != text {
			t.Errorf("%s was stored as %s, %v", text, raw, err)
		}
	}
}

// TestDefaultSchedule pins the promise that is made in the documentation, and that nobody can change it for others.
func TestDefaultSchedule(t *testing.T) {
	DefaultSchedule()[0] = 0
	raw, err := json.Marshal(DefaultSchedule())
	want := `["5s","30s","5m","30m","2h","5h","10h","14h","20h","24h"]`
	if diff := cmp.Diff(want, string(raw)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestStates says which states of a delivery are final.
func TestStates(t *testing.T) {
	final := map[DeliveryState]bool{
		DeliveryPending: false, DeliveryHeld: false,
		DeliverySucceeded: true, DeliveryFailed: true, DeliveryCancelled: true, DeliverySkipped: true,
	}
	for state, want := range final {
		if state.Final() != want || !state.Valid() {
			t.Errorf("%s: final %v, valid %v", state, state.Final(), state.Valid())
		}
	}
	if DeliveryState("").Valid() || DeliveryState("done").Valid() || Severity("").Valid() || Status("closed").Valid() || !Status("").Valid() {
		t.Error("a word that is no state, severity or status passes for one, or the empty status does not")
	}
}

// TestSubject shows whom receivers know an event as.
func TestSubject(t *testing.T) {
	if e := (Event{ID: 5}); e.Subject() != 5 {
		t.Errorf("got %v", e.Subject())
	}
	if e := (Event{ID: 5, Origin: 3}); e.Subject() != 3 {
		t.Errorf("got %v", e.Subject())
	}
}

// TestEventJSON shows that a payload keeps its bytes, and that what is absent is left out.
func TestEventJSON(t *testing.T) {
	payload := `{"b":1.0,"a":12345678901234567890}`
	raw, err := json.Marshal(Event{ID: 1, Type: "t", Payload: json.RawMessage(payload), Source: Source{Kind: SourceAPI}})
	want := `{"id":"evt_0000000000001","type":"t","scope":"","payload":` + payload +
		`,"occurred_at":"0001-01-01T00:00:00Z","received_at":"0001-01-01T00:00:00Z","source":{"kind":"api"}}`
	if diff := cmp.Diff(want, string(raw)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// FuzzDuration shows that whatever is read can be written and read again.
func FuzzDuration(f *testing.F) {
	for _, text := range []string{`"5m"`, `30`, `1e300`, `"1h0m0s"`, `9223372036.854775807`, `"-1ns"`, `null`, `"2562047h47m16.854775807s"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, back Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			if len(err.Error()) > 300 && !strings.HasPrefix(err.Error(), "json") || !utf8.ValidString(err.Error()) {
				t.Fatalf("the error is %q", err)
			}
			return
		}
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &back); err != nil || back != d {
			t.Fatalf("%s was read as %v, written as %s and read as %v, %v", text, time.Duration(d), raw, time.Duration(back), err)
		}
	})
}
