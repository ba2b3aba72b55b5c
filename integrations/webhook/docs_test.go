package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration"
)

func verify(secret string, h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	sent, terr := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || terr != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return true
		}
	}
	return false
}

// block returns the first code block of a language in the docs.
func block(t *testing.T, language string) string {
	_, rest, ok := strings.Cut(docs, "```"+language+"\n")
	code, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("the docs have no code in %s", language)
	}
	return code
}

// The code that the docs give to receivers accepts what is sent, also during a rotation, and nothing else.
func TestDocsVerify(t *testing.T) {
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), block(t, "go")) {
		t.Error("the Go code of the docs is not the one that is tested here")
	}
	r := send(t, `{"url":"http://h.test","secret":"`+hmacSecret+`"}`, func(d *integration.Delivery) { d.Previous = hmacOld })
	h := http.Header{}
	for _, f := range r.Header {
		h.Add(f.Name, f.Value)
	}
	other := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for secret, want := range map[string]bool{hmacSecret: true, hmacOld: true, other: false} {
		if verify(secret, h, r.Body) != want {
			t.Errorf("Go: %q is not %v", secret, want)
		}
	}
	headers := func() string {
		return fmt.Sprintf(`{"webhook-id": %q, "webhook-timestamp": %q, "webhook-signature": %q}`, h.Get("webhook-id"), h.Get("webhook-timestamp"), h.Get("webhook-signature"))
	}
	for name, c := range map[string]struct{ program, flag, language, end string }{
		"Python":     {"python3", "-c", "python", "\nimport sys\nprint(str(verify(sys.argv[1], %s, sys.stdin.buffer.read())).lower())"},
		"Ruby":       {"ruby", "-e", "ruby", "\nrequire 'json'\nprint verify(ARGV[0], JSON.parse('%s'), STDIN.binmode.read)"},
		"PHP":        {"php", "-r", "php", "\necho verify($argv[1], json_decode('%s', true), stream_get_contents(STDIN)) ? 'true' : 'false';"},
		"JavaScript": {"node", "-e", "js", "\nconsole.log(verify(process.argv[1], %s, require('node:fs').readFileSync(0)))"},
	} {
		program, err := exec.LookPath(c.program)
		if err != nil {
			t.Logf("%s is not installed", c.program)
			continue
		}
		for secret, want := range map[string]bool{hmacSecret: true, hmacOld: true, other: false} {
			cmd := exec.Command(program, c.flag, block(t, c.language)+fmt.Sprintf(c.end, headers()), secret)
			cmd.Stdin = strings.NewReader(string(r.Body))
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != strconv.FormatBool(want) {
				t.Errorf("%s: %s %v, want %v", name, out, err, want)
			}
		}
	}
}
