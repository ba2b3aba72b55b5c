package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAudit shows who changed what as a table, as it came, or as a file.
func TestAudit(t *testing.T) {
	const answer = `{"data":[{"id":"aud_06ya3vxkw4g0t","at":"2026-11-22T12:30:00Z","action":"link.updated","object":"lnk_06hjzrqsbr001","title":"Slack \u001b[31m#develop",` +
		`"scope":"acme","actor":{"kind":"key","id":"key_06ya3vxkw4g0t","name":"CI"},"via":"api","address":"192.0.2.7","agent":"curl/8","changes":[` +
		`{"field":"events","from":["a"],"to":["a","b"]},{"field":"name","from":null,"to":"x"},{"field":"rate","from":1,"to":null}]},` +
		`{"id":"aud_06ya3vxkw4g0s","at":"2026-11-22T12:30:00Z","action":"key.created","object":"key_0000000000001","title":"","scope":"",` +
		`"actor":{"kind":"system","id":"","name":""},"via":"","address":"","agent":"","changes":[]}],"next":"YQ"}`
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		switch r.URL.Query().Get("format") {
		case "csv":
			fmt.Fprint(w, "at,id\r\n")
		case "ndjson":
			w.Header().Set("Content-Length", "100") // and then less
			fmt.Fprint(w, "{}\n")
		default:
			fmt.Fprint(w, answer)
		}
	}))
	t.Cleanup(s.Close)
	command := func(args ...string) (string, int) {
		return run(t, append([]string{"audit", "--server", s.URL, "--key", "pk_x"}, args...)...)
	}
	out, code := command("--scope", "acme", "--action", "link.", "--actor", "CI", "--object", "lnk_06hjzrqsbr001", "--since", "2026-11-22T00:00:00Z")
	for _, want := range []string{"CI", "link.updated", "lnk_06hjzrqsbr001", "events: a → a, b, name: x, rate: 1", "192.0.2.7", "Patchbay", "(everywhere)", "--cursor YQ"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d: %q is not in\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "\x1b[31m#develop") {
		t.Error("a title writes on the terminal as it likes")
	}
	if asked != "action=link.&actor=CI&limit=25&object=lnk_06hjzrqsbr001&scope=acme&since=2026-11-22T00%3A00%3A00Z" {
		t.Errorf("it asks for %s", asked)
	}
	if out, code := command("--json"); code != exitOK || strings.TrimSpace(out) != answer {
		t.Errorf("%d %s", code, out)
	}
	if out, code := command("--csv"); code != exitOK || out != "at,id\r\n" || asked != "format=csv" {
		t.Errorf("%d %q for %s", code, out, asked)
	}
	if out, code := command("--ndjson"); code != exitFailed || !strings.Contains(out, "broke off") {
		t.Errorf("an export that is not whole: %d %q", code, out)
	}
	for _, wrong := range [][]string{{"--csv", "--ndjson"}, {"--scope", "a//b"}, {"--since", "yesterday"}} {
		if out, code := command(wrong...); code != exitUsage {
			t.Errorf("%v: %d %s", wrong, code, out)
		}
	}
}
