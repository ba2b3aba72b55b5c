package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// run runs one command and returns what it printed and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := Run(context.WithoutCancel(t.Context()), Build{Version: "1.2.3"}, args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	return out.String(), code
}

// TestMigrate says what is to run, runs it, and never shows the password.
func TestMigrate(t *testing.T) {
	const password = "hunter2"
	url := strings.Replace(pgtest.Database(t), "@", ":"+password+"@", 1)
	t.Setenv("PATCHBAY_DATABASE", url)
	t.Setenv("PATCHBAY_DATA", t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"migrate", "--status"}, exitFailed, "its schema is number 0"},
		{[]string{"migrate", "--status", "--json"}, exitFailed, `"have":0`},
		{[]string{"doctor"}, exitOK, "it is empty"},
		{[]string{"migrate"}, exitOK, "is up to date"},
		{[]string{"migrate"}, exitOK, "is up to date"},
		{[]string{"migrate", "--status"}, exitOK, "is up to date"},
		{[]string{"doctor"}, exitOK, "0 nodes; schema number"},
		{[]string{"doctor"}, exitOK, "off: fsync"},
		{[]string{"doctor", "--database", "postgres://u:" + password + "@127.0.0.1:1/x"}, exitFailed, "cannot be used"},
		{[]string{"migrate", "--database", "postgres://u:" + password + "/x@y/z"}, exitUsage, "%2F"},
	} {
		out, code := run(t, c.args...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, and it says:\n%s\nwant %d and %q", c.args, code, out, c.code, c.want)
		}
		if strings.Contains(out, password) {
			t.Errorf("%v shows the password:\n%s", c.args, out)
		}
	}
	t.Setenv("PATCHBAY_DATABASE", "")
	if out, code := run(t, "migrate"); code != exitOK || !strings.Contains(out, "SQLite in ") || !strings.Contains(out, "is up to date") {
		t.Errorf("the embedded database: %d %s", code, out)
	}
	if out, code := run(t, "migrate", "--status"); code != exitFailed || !strings.Contains(out, "by every start") {
		t.Errorf("its status: %d %s", code, out)
	}
}

// TestNodes are shown as a table, or as they came.
func TestNodes(t *testing.T) {
	const answer = `{"data":[{"number":0,"name":"a","address":"one:80","version":"1.2.3","started_at":"2026-11-22T00:00:00Z","seen_at":"2026-11-22T00:00:00Z",` +
		`"state":"alive","self":true,"shards":128,"in_flight":5,"ready":3,"open_breakers":1},{"number":1,"state":"gone","address":"two:80",` +
		`"started_at":"2026-11-22T00:00:00Z","seen_at":"2026-11-22T00:00:00Z"}],"waiting":12,"next":null}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/nodes" {
			t.Errorf("it asks for %s", r.URL)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(s.Close)
	out, code := run(t, "nodes", "--server", s.URL, "--key", "pk_x")
	for _, want := range []string{"0 *", "alive", "one:80", "128", "gone", "12 deliveries wait"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d: %q is not in\n%s", code, want, out)
		}
	}
	if out, code := run(t, "nodes", "--json", "--server", s.URL, "--key", "pk_x"); code != exitOK || strings.TrimSpace(out) != answer {
		t.Errorf("%d %s", code, out)
	}
}
