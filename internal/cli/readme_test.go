package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/cli"
)

// TestReadme proves that the README's tables of event types and integrations are those of the program.
func TestReadme(t *testing.T) {
	before, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(name, before, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Build{Integrations: all.Integrations()}, []string{"catalog", "docs", "--readme", name}, cli.Streams{Out: &out, Err: &errs})
	if code != 0 {
		t.Fatalf("%d: %s", code, errs.String())
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("run \"go run ./cmd/patchbay catalog docs --readme README.md\":\n%s", diff)
	}
}
