package patchbay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
)

// TestErrorf shows that causes are both spelled out and found.
func TestErrorf(t *testing.T) {
	err := Errorf(CodeConflict, "saving %s: %w", "x", fs.ErrExist)
	if err.Error() != "saving x: file already exists" || err.Message != err.Error() || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %q", err)
	}
	err = Errorf(CodeConflict, "%w and %w", fs.ErrExist, io.EOF)
	if !errors.Is(err, fs.ErrExist) || !errors.Is(err, io.EOF) {
		t.Errorf("%q lost a cause", err)
	}
	if errors.Unwrap(Errorf(CodeConflict, "no cause: %v", io.EOF)) != nil {
		t.Error("a cause was made of what is only spelled")
	}
}

// TestInvalid shows where the place stands.
func TestInvalid(t *testing.T) {
	err := Invalid("payload.run", "must be %s", "an object")
	if err.Error() != "payload.run: must be an object" || len(err.Details) != 1 || err.Details[0] != (Detail{"payload.run", "must be an object"}) {
		t.Errorf("got %+v", err)
	}
}

// TestInternal shows that the cause is for us, the sentence for callers.
func TestInternal(t *testing.T) {
	err := Internal("saving", io.ErrUnexpectedEOF)
	if strings.Contains(err.Message, "EOF") || !strings.Contains(err.Error(), "EOF") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got the sentence %q and the error %q", err.Message, err)
	}
}

// TestCodeOf shows which code an error has for a caller.
func TestCodeOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{io.EOF, CodeInternal},
		{Errorf(CodeNotFound, "x"), CodeNotFound},
		{fmt.Errorf("reading: %w", Errorf(CodeNotFound, "x")), CodeNotFound},
		{Errorf(CodeForbidden, "not for you: %w", Errorf(CodeNotFound, "x")), CodeForbidden},
		{errors.Join(io.EOF, Errorf(CodeConflict, "x")), CodeConflict},
	} {
		if got := CodeOf(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

// TestSecret tries every way in which a text gets printed.
func TestSecret(t *testing.T) {
	const text = "hunter2hunter2"
	type settings struct {
		Token  Secret            `json:"token"`
		Tokens []Secret          `json:"tokens"`
		ByName map[string]Secret `json:"by_name"`
		Keys   map[Secret]int    `json:"-"` // encoding/json writes keys that are strings without asking them
	}
	s := Secret(text)
	all := settings{s, []Secret{s}, map[string]Secret{"a": s}, map[Secret]int{s: 1}}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "token", s, "settings", all)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "token", s, "settings", all)
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{logged.String(), string(raw), s.String(), s.GoString(), fmt.Sprint(s, all, &all), errors.New(fmt.Sprint(s)).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%t", "%10.20s"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, all))
	}
	for _, o := range out {
		if strings.Contains(o, text) || strings.Contains(o, "68756e746572") || !strings.Contains(o, Redacted) && !strings.Contains(o, "REDACTED") {
			t.Errorf("shown as %s", o)
		}
	}
	if Secret("").String() != "" || s.Reveal() != text {
		t.Error("an empty secret is not empty, or a secret cannot be read")
	}
	var back settings
	if err := json.Unmarshal([]byte(`{"token":"x"}`), &back); err != nil || back.Token != "x" {
		t.Errorf("read as %q, %v", back.Token.Reveal(), err)
	}
}
