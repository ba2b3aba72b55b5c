package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func open(t *testing.T) (*audit.Service, *sqlite.Store) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return audit.New(s), s
}

func caller(scope patchbay.Scope, p ...access.Permission) *access.Caller {
	return &access.Caller{Scope: scope, Permissions: p}
}

func TestWhoMayRead(t *testing.T) {
	service, s := open(t)
	for _, scope := range []patchbay.Scope{"", "acme", "acme/x", "other"} {
		if err := s.WriteAudit(t.Context(), &store.AuditEntry{Scope: scope, Action: "link.created"}); err != nil {
			t.Fatal(err)
		}
	}
	portal := caller("acme", access.Read, access.Manage, access.Secrets)
	portal.Portal = true
	for name, x := range map[string]struct {
		c    *access.Caller
		want int // -1: refused
	}{
		"admin": {caller("", access.Admin), 4}, "manage": {caller("", access.Manage), 4}, "of a tenant": {caller("acme", access.Manage), 2},
		"deeper": {caller("acme/x", access.Admin), 1}, "read": {caller("", access.Read), -1}, "publish": {caller("", access.Publish), -1},
		"a portal": {portal, -1}, "nobody": {nil, -1},
	} {
		got, more, err := service.List(t.Context(), x.c, audit.Query{Limit: 10})
		switch {
		case x.want < 0 && patchbay.CodeOf(err) != patchbay.CodeForbidden:
			t.Errorf("%s: %v", name, err)
		case x.want >= 0 && (err != nil || more || len(got) != x.want):
			t.Errorf("%s sees %d entries, %v", name, len(got), err)
		}
		if audit.May(x.c) != (x.want >= 0) {
			t.Errorf("whether %s may read is not known beforehand", name)
		}
	}
	elsewhere := patchbay.Scope("other")
	if _, _, err := service.List(t.Context(), caller("acme", access.Admin), audit.Query{Scope: &elsewhere, Limit: 1}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("another tenant's: %v", err)
	}
}

func TestEachGoesThroughAll(t *testing.T) {
	service, s := open(t)
	const n = 1203
	for i := range n {
		if err := s.WriteAudit(t.Context(), &store.AuditEntry{Action: "link.updated", Object: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	next := n
	err := service.Each(t.Context(), caller("", access.Admin), audit.Query{Limit: 3}, func(e *audit.Entry) error {
		if next--; e.Object != fmt.Sprint(next) {
			t.Fatalf("entry %s comes where %d should", e.Object, next)
		}
		return nil
	})
	if err != nil || next != 0 {
		t.Errorf("%d are left, %v", next, err)
	}
	enough := errors.New("enough")
	if err := service.Each(t.Context(), caller("", access.Admin), audit.Query{}, func(*audit.Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsBrokenIsSaid(t *testing.T) {
	service, s := open(t)
	if err := s.WriteAudit(t.Context(), &store.AuditEntry{Action: "link.updated", Changes: json.RawMessage(`{"not":"a list"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := service.List(t.Context(), caller("", access.Admin), audit.Query{Limit: 1}); patchbay.CodeOf(err) != patchbay.CodeInternal {
		t.Errorf("an entry that cannot be read: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := service.List(t.Context(), caller("", access.Admin), audit.Query{Limit: 1}); patchbay.CodeOf(err) != patchbay.CodeUnavailable {
		t.Errorf("a closed store: %v", err)
	}
}

// row writes an entry as CSV and reads it back.
func row(t testing.TB, e *audit.Entry) []string {
	t.Helper()
	var b bytes.Buffer
	w, err := audit.NewWriter(&b, audit.Formats["csv"])
	if err == nil {
		err = w.Write(e)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Fatalf("%q: %v", rows, err)
	}
	return rows[1]
}

func TestSpreadsheetsRunNothing(t *testing.T) {
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "＝1": "'＝1",
		"x;=cmd|' /C calc'!A0": "x;'=cmd|' /C calc'!A0", "a; \"-1": "a; \"'-1", "Mozilla/5.0 (X11; Linux)": "Mozilla/5.0 (X11; Linux)",
		"a=1": "a=1", "": "", "'=1": "'=1", "Slack #dévelop, \"x\"": "Slack #dévelop, \"x\"",
	} {
		if got := row(t, &audit.Entry{Title: text})[4]; got != want {
			t.Errorf("%q stands as %q, want %q", text, got, want)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("=cmd", "a\r\nb", "\x00\xff")
	f.Fuzz(func(t *testing.T, title, agent, object string) {
		e := &audit.Entry{
			ID: 1, At: time.Unix(0, 0), Title: title, Agent: agent, Object: object, Changes: []audit.Change{{Field: title, From: []byte("null"), To: []byte(`"x"`)}},
		}
		for _, cell := range row(t, e) {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", firstRune(cell)) {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	})
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// TestACancelledExportEnds checks that nothing more is read for somebody who is gone.
func TestACancelledExportEnds(t *testing.T) {
	service, s := open(t)
	for range 600 {
		if err := s.WriteAudit(t.Context(), &store.AuditEntry{Action: "link.updated"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := service.Each(ctx, caller("", access.Admin), audit.Query{}, func(*audit.Entry) error {
		n++
		cancel()
		return nil
	})
	if err == nil || n != 500 {
		t.Errorf("%d entries, %v", n, err)
	}
}
