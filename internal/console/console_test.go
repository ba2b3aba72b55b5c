package console

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// TestTable proves that columns line up, with colours and without, and that text from outside cannot break them.
func TestTable(t *testing.T) {
	rows := [][]Cell{
		{{"dlv_1", Plain}, {"succeeded", Green}, {"repo.push", ""}},
		{{"dlv_22", Plain}, {"failed\x1b[2J", Red}, {"a\tb\nc", ""}},
	}
	var plain, colored bytes.Buffer
	New(&plain).Table([]string{"id", "state", "event"}, rows)
	c := New(&colored)
	c.Color = true
	c.Table([]string{"id", "state", "event"}, rows)

	want := "id      state      event\ndlv_1   succeeded  repo.push\ndlv_22  failed[2J  a b c\n"
	if plain.String() != want {
		t.Errorf("got\n%swant\n%s", plain.String(), want)
	}
	escapes := regexp.MustCompile("\x1b\\[\\d+m")
	if got := escapes.ReplaceAllString(colored.String(), ""); got != want {
		t.Errorf("without its colours the table is\n%swant\n%s", got, want)
	}
	if !strings.Contains(colored.String(), "\x1b[32msucceeded") {
		t.Errorf("no green in %q", colored.String())
	}
}

// TestStyles proves that all styles have one length, on which the alignment of tables rests.
func TestStyles(t *testing.T) {
	for _, s := range []Style{Plain, Bold, Dim, Red, Green, Yellow, Blue, Magenta, Cyan} {
		if len(s) != len(Plain) {
			t.Errorf("%q has %d bytes, not %d", s, len(s), len(Plain))
		}
	}
}

// TestText proves how text is cut and cleaned.
func TestText(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Clip("héllo wörld", 6), "héllo…"}, {Clip("abc", 3), "abc"}, {Clip("abc", 0), ""},
		{Pad("ab", 4), "ab  "}, {Pad("abcdef", 4), "abc…"},
		{Line("a\x1b[31m\n  b\u202ec\t"), "a[31m bc"},
		{Length(1500 * time.Microsecond), "1ms"}, {Length(90 * time.Second), "1m"}, {Length(47 * time.Hour), "47h"},
		{Length(49 * time.Hour), "2d"}, {Length(-time.Second), "0s"},
		{Ago(time.Time{}, time.Now()), "never"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	if utf8.RuneCountInString(Pad("✓ ö", 9)) != 9 {
		t.Error("padding counts bytes")
	}
}

// TestWrap proves that lines break between words only, and hold what fits.
func TestWrap(t *testing.T) {
	if diff := cmp.Diff([]string{"wie schön", "ein", "unteilbares", "Wort ist"}, Wrap(" wie schön ein\nunteilbares Wort ist ", 9)); diff != "" {
		t.Error(diff)
	}
	if got := Wrap(" ", 9); got != nil {
		t.Errorf("nothing becomes %q", got)
	}
}

// TestLooks proves that every state has a sign of its own kind, and that nothing is painted without colours.
func TestLooks(t *testing.T) {
	for _, s := range []patchbay.DeliveryState{patchbay.DeliveryPending, patchbay.DeliveryHeld, patchbay.DeliverySucceeded,
		patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped} {
		if DeliveryLook(s).Sign == "?" {
			t.Errorf("%s has no sign", s)
		}
	}
	c := &Console{}
	if got := LinkLook(patchbay.LinkPaused).Paint(c, "paused"); got != "‖ paused" {
		t.Errorf("got %q", got)
	}
	if got := VerdictLook(patchbay.VerdictRejected); got.Style != Red {
		t.Errorf("a rejected attempt is shown in %q", got.Style)
	}
}
