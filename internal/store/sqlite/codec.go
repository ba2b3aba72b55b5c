package sqlite

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// This file knows the small codes and the blobs of the tables. Numbers in blobs are uvarints, texts a length and the
// bytes, identifiers eight bytes, the highest first.

var errBlob = errors.New("a blob in the database is malformed: the file is damaged")

// Codes are positions in these lists; new ones go to the end.
var (
	states = []patchbay.DeliveryState{
		patchbay.DeliveryPending, patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
	}
	verdicts = []patchbay.Verdict{
		"", patchbay.VerdictDelivered, patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired,
	}
	// The first is for kinds that are not listed; their text follows.
	sources = []string{
		"", patchbay.SourceAPI, patchbay.SourceInline, patchbay.SourceHook, patchbay.SourceSystem, patchbay.SourceTest,
	}
)

const (
	codePending   = 0
	codeSucceeded = 1
)

// stateCode treats held like pending: the two differ by the link only.
func stateCode(s patchbay.DeliveryState) int64 { return int64(max(0, slices.Index(states, s))) }

func stateOf(code int64) patchbay.DeliveryState {
	if code < 0 || int(code) >= len(states) {
		return patchbay.DeliveryPending
	}
	return states[code]
}

func verdictCode(v patchbay.Verdict) int64 { return int64(max(0, slices.Index(verdicts, v))) }

func verdictOf(code int64) patchbay.Verdict {
	if code < 0 || int(code) >= len(verdicts) {
		return ""
	}
	return verdicts[code]
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// blob reads what the append functions wrote. After an error everything reads as zero.
type blob struct {
	b   []byte
	bad bool
}

func (r *blob) done() bool { return len(r.b) == 0 || r.bad }

func (r *blob) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *blob) id() int64 {
	if len(r.b) < 8 {
		r.bad = true
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return int64(v)
}

func (r *blob) text() string { return string(r.bytes()) }

func (r *blob) bytes() []byte { return r.take(r.uvarint()) }

func (r *blob) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *blob) err() error {
	if r.bad {
		return errBlob
	}
	return nil
}

// appendTargets writes link, revision and integration of each target. The integration is the length of its key plus
// one and the key, or 0 for the same as in the target before: of ten links most have the same.
func appendTargets(b []byte, targets []store.Target) []byte {
	last := ""
	for i := range targets {
		t := &targets[i]
		b = binary.BigEndian.AppendUint64(b, uint64(t.Link))
		b = binary.AppendUvarint(b, uint64(t.Revision))
		if t.Integration == last && i > 0 {
			b = append(b, 0)
			continue
		}
		last = t.Integration
		b = binary.AppendUvarint(b, uint64(len(last))+1)
		b = append(b, last...)
	}
	return b
}

func readTargets(raw []byte) ([]store.Target, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	r := blob{b: raw}
	out := make([]store.Target, 0, len(raw)/10+1)
	last := ""
	for !r.done() {
		t := store.Target{Link: patchbay.LinkID(r.id()), Revision: int(r.uvarint())}
		if n := r.uvarint(); n > 0 {
			last = string(r.take(n - 1))
		}
		t.Integration = last
		out = append(out, t)
	}
	return out, r.err()
}

// revisionAt returns the revision of the i-th target, counting from 0, without making the others.
func revisionAt(raw []byte, i int) int {
	r := blob{b: raw}
	for ; i >= 0 && !r.done(); i-- {
		r.id()
		revision := r.uvarint()
		if n := r.uvarint(); n > 0 {
			r.take(n - 1)
		}
		if i == 0 && !r.bad {
			return int(revision)
		}
	}
	return 0
}

// countTargets is len of readTargets, without making them.
func countTargets(raw []byte) int {
	r := blob{b: raw}
	n := 0
	for ; !r.done(); n++ {
		r.id()
		r.uvarint()
		if l := r.uvarint(); l > 0 {
			r.take(l - 1)
		}
	}
	return n
}

// appendSource writes the kind's code, then key, link, integration and target; what is empty at the end is left out.
func appendSource(b []byte, s *patchbay.Source) []byte {
	code := max(0, slices.Index(sources, s.Kind))
	b = append(b, byte(code))
	if code == 0 {
		b = appendText(b, s.Kind)
	}
	if s.Key == 0 && s.Link == 0 && s.Integration == "" && s.Target == "" {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.Key))
	if s.Link == 0 && s.Integration == "" && s.Target == "" {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(s.Link))
	if s.Integration == "" && s.Target == "" {
		return b
	}
	b = appendText(b, s.Integration)
	return appendText(b, s.Target)
}

func readSource(raw []byte) (patchbay.Source, error) {
	var s patchbay.Source
	if len(raw) == 0 || int(raw[0]) >= len(sources) {
		return s, errBlob
	}
	r := blob{b: raw[1:]}
	s.Kind = sources[raw[0]]
	if raw[0] == 0 {
		s.Kind = r.text()
	}
	if !r.done() {
		s.Key = patchbay.KeyID(r.id())
	}
	if !r.done() {
		s.Link = patchbay.LinkID(r.id())
	}
	if !r.done() {
		s.Integration = r.text()
		s.Target = r.text()
	}
	return s, r.err()
}

// appendRequest writes method, URL and headers, sorted by name.
func appendRequest(b []byte, q *patchbay.Request) []byte {
	b = appendText(b, q.Method)
	b = appendText(b, q.URL)
	var room [16]string
	names := room[:0]
	for name := range q.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = appendText(b, name)
		b = appendText(b, q.Headers[name])
	}
	return b
}

func readRequest(raw []byte) (*patchbay.Request, error) {
	if raw == nil {
		return nil, nil
	}
	r := blob{b: raw}
	q := &patchbay.Request{Method: r.text(), URL: r.text()}
	for !r.done() {
		if q.Headers == nil {
			q.Headers = make(map[string]string, 8)
		}
		name := r.text()
		q.Headers[name] = r.text()
	}
	return q, r.err()
}

func joinScopes(scopes []patchbay.Scope) string {
	if len(scopes) == 0 {
		return ""
	}
	var b strings.Builder
	for i, s := range scopes {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(s))
	}
	return b.String()
}

func splitScopes(text string) []patchbay.Scope {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	out := make([]patchbay.Scope, len(lines))
	for i, l := range lines {
		out[i] = patchbay.Scope(l)
	}
	return out
}
