package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAssign proves how --set puts values into an object: text, JSON, paths, and numbers as they are spelled.
func TestAssign(t *testing.T) {
	for _, tc := range []struct {
		object string
		set    []string
		want   string // "" is refused
	}{
		{`{"run":{"id":9007199254740993,"a":1}}`, []string{"run.a=2", "run.b:=3.10"}, `{"run":{"a":"2","b":3.10,"id":9007199254740993}}`},
		{`{}`, []string{"a=b=c", "x:={\"y\":[1,null]}", "empty="}, `{"a":"b=c","empty":"","x":{"y":[1,null]}}`},
		{``, []string{"deep.er.est=1"}, `{"deep":{"er":{"est":"1"}}}`},
		{`{"a":"text"}`, []string{"a.b=1"}, `{"a":{"b":"1"}}`},
		{`{"a": 1}`, nil, `{"a": 1}`},
		{`{}`, []string{"novalue"}, ""},
		{`{}`, []string{"=x"}, ""},
		{`{}`, []string{"a:=nonsense"}, ""},
		{`{}`, []string{"a:=1 2"}, ""},
		{`[1]`, []string{"a=1"}, ""},
		{`null`, []string{"a=1"}, ""},
	} {
		assignments, err := parseAssignments(tc.set)
		var got json.RawMessage
		if err == nil {
			got, err = assign(json.RawMessage(tc.object), assignments)
		}
		if (err != nil) != (tc.want == "") || string(got) != tc.want && tc.want != "" {
			t.Errorf("%s with %q is %s, %v; want %s", tc.object, tc.set, got, err, tc.want)
		}
	}
}

// FuzzAssign proves that whatever is set, an object comes out or an error.
func FuzzAssign(f *testing.F) {
	for _, seed := range [][2]string{{"{}", "a.b=c"}, {`{"a":[]}`, "a.b:=1"}, {"", "....=x"}, {"null", "a=1"}, {`{"a":{}}`, "a:=null"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, object, set string) {
		assignments, err := parseAssignments([]string{set})
		if err != nil {
			return
		}
		got, err := assign(json.RawMessage(object), assignments)
		var out map[string]any
		if err == nil && json.Unmarshal(got, &out) != nil {
			t.Errorf("%q with %q is %q", object, set, got)
		}
	})
}

// TestReadJSON proves the three places that JSON is read from, and that what is none or too large is refused.
func TestReadJSON(t *testing.T) {
	name := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(name, []byte(`{"from": "file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &program{in: strings.NewReader(`{"from": "input"}`)}
	for text, want := range map[string]string{`{"from": "flag"}`: `{"from": "flag"}`, "@" + name: `{"from": "file"}`, "-": `{"from": "input"}`} {
		if got, err := p.readJSON("--payload", text); err != nil || string(got) != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	p.in = bytes.NewReader(make([]byte, maxInput+1))
	for _, text := range []string{"-", "@" + name + ".missing", "{", ""} {
		if got, err := p.readJSON("--payload", text); err == nil {
			t.Errorf("%q is %.20s", text, got)
		}
	}
}

// TestMoment proves how times are given.
func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[moment]time.Time{"": {}, "2h": now.Add(-2 * time.Hour), "7d": now.AddDate(0, 0, -7), "2026-11-01T00:00:00Z": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := text.time("--since", now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	if _, err := moment("yesterday").time("--since", now); err == nil {
		t.Error("yesterday is accepted")
	}
}

// TestLocalKey proves that the admin key of this machine is sent to this machine only.
func TestLocalKey(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "admin.key"), []byte("pk_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{
		"http://127.0.0.1:8080": "pk_secret", "http://localhost": "pk_secret", "http://[::1]:1": "pk_secret",
		"https://hooks.example.com": "", "http://127.0.0.1.example.com": "", "http://10.0.0.1": "", "http://localhost@example.com": "",
	} {
		if got := localKey(server, data); got.Reveal() != want {
			t.Errorf("%s gets %q", server, got.Reveal())
		}
	}
	if got := localKey("http://127.0.0.1", t.TempDir()); got != "" {
		t.Errorf("no key is %q", got.Reveal())
	}
}
