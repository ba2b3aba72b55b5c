package web

import (
	"strings"
	"testing"
)

// TestMarkdownIsSafe: documentation draws neither HTML nor addresses that run scripts, and its headings are in order.
func TestMarkdownIsSafe(t *testing.T) {
	got, err := markdown("# Title\n\n<script>x</script>\n\n[a](javascript:alert(1)) <b>b</b>\n\n#### Deep\n\n## Up\n\n```\ncode\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "javascript:", "<b>", "Title", "<h5", "<h4"} {
		if strings.Contains(string(got), bad) {
			t.Errorf("%q is in %s", bad, got)
		}
	}
	if !strings.Contains(string(got), "<h3>Deep</h3>") || !strings.Contains(string(got), "<h3>Up</h3>") || !strings.Contains(string(got), `<pre tabindex="0">`) {
		t.Errorf("it is drawn as %s", got)
	}
}
