package postgres

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// This file knows the small codes and the layout of bytea columns.

var errBlob = errors.New("a value in the database is malformed: it was changed by something else than Patchbay")

// Codes are positions in these lists; new ones go to the end.
var (
	states = []patchbay.DeliveryState{
		patchbay.DeliveryPending, patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
	}
	verdicts = []patchbay.Verdict{
		"", patchbay.VerdictDelivered, patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired,
	}
)

const (
	codePending   = 0
	codeSucceeded = 1
	codeCancelled = 3
)

// stateCode treats held like pending: the two differ by the link only.
func stateCode(s patchbay.DeliveryState) int16 { return int16(max(0, slices.Index(states, s))) }

func stateOf(code int16) patchbay.DeliveryState {
	if code < 0 || int(code) >= len(states) {
		return patchbay.DeliveryPending
	}
	return states[code]
}

func verdictCode(v patchbay.Verdict) int16 { return int16(max(0, slices.Index(verdicts, v))) }

func verdictOf(code int16) patchbay.Verdict {
	if code < 0 || int(code) >= len(verdicts) {
		return ""
	}
	return verdicts[code]
}

// targetHead is what each target takes besides its integration's key: link (8 bytes), revision (4), length of the key (1).
// Before the first one stands their number (4).
const targetHead = 13

// appendTargets writes what a row of event says of its deliveries.
func appendTargets(b []byte, targets []store.Target) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(targets)))
	for i := range targets {
		t := &targets[i]
		key := t.Integration[:min(len(t.Integration), 255)]
		b = binary.BigEndian.AppendUint64(b, uint64(t.Link))
		b = binary.BigEndian.AppendUint32(b, uint32(t.Revision))
		b = append(b, byte(len(key)))
		b = append(b, key...)
	}
	return b
}

// countTargets is len of readTargets, without making them.
func countTargets(raw []byte) int {
	if len(raw) < 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(raw))
}

func readTargets(raw []byte) ([]store.Target, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	n := countTargets(raw)
	if len(raw) < 4 || n > len(raw)/targetHead {
		return nil, errBlob
	}
	out := make([]store.Target, 0, n)
	last := ""
	for raw = raw[4:]; len(out) < n; {
		if len(raw) < targetHead || len(raw) < targetHead+int(raw[12]) {
			return nil, errBlob
		}
		key := raw[targetHead : targetHead+int(raw[12])]
		if string(key) != last { // of ten links most have the same
			last = string(key)
		}
		out = append(out, store.Target{
			Link: patchbay.LinkID(binary.BigEndian.Uint64(raw)), Revision: int(binary.BigEndian.Uint32(raw[8:])), Integration: last,
		})
		raw = raw[targetHead+len(key):]
	}
	return out, nil
}

// revisionAt returns the revision of the i-th target, counting from 0, without making the others.
func revisionAt(raw []byte, i int) int {
	if i < 0 || i >= countTargets(raw) {
		return 0
	}
	for raw = raw[4:]; len(raw) >= targetHead && len(raw) >= targetHead+int(raw[12]); i-- {
		if i == 0 {
			return int(binary.BigEndian.Uint32(raw[8:]))
		}
		raw = raw[targetHead+int(raw[12]):]
	}
	return 0
}

// appendSource writes the kind alone when there is nothing else, and otherwise JSON.
func appendSource(b []byte, s *patchbay.Source) []byte {
	if *s == (patchbay.Source{Kind: s.Kind}) && !strings.HasPrefix(s.Kind, "{") {
		return append(b, s.Kind...)
	}
	text, _ := json.Marshal(s) // texts and numbers: it cannot fail
	return append(b, text...)
}

func readSource(text string) (s patchbay.Source, err error) {
	if !strings.HasPrefix(text, "{") {
		return patchbay.Source{Kind: text}, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, errBlob
	}
	return s, nil
}

// appendRequest writes method, URL and headers, sorted by name: each a length (uvarint) and the bytes.
func appendRequest(b []byte, q *patchbay.Request) []byte {
	b = appendText(appendText(b, q.Method), q.URL)
	for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
		b = appendText(appendText(b, name), q.Headers[name])
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func readRequest(raw []byte) (*patchbay.Request, error) {
	if raw == nil {
		return nil, nil
	}
	var texts []string
	for len(raw) > 0 {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > uint64(len(raw)-size) {
			return nil, errBlob
		}
		texts = append(texts, string(raw[size:size+int(n)]))
		raw = raw[size+int(n):]
	}
	if len(texts) < 2 || len(texts)%2 != 0 {
		return nil, errBlob
	}
	q := &patchbay.Request{Method: texts[0], URL: texts[1]}
	for i := 2; i < len(texts); i += 2 {
		if q.Headers == nil {
			q.Headers = make(map[string]string, len(texts)/2)
		}
		q.Headers[texts[i]] = texts[i+1]
	}
	return q, nil
}

func joinScopes(scopes []patchbay.Scope) string {
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
