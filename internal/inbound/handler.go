package inbound

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// MaxBody is the most bytes that a call's body may have: as much as an event.
	MaxBody = patchbay.MaxEventBody
	// bodyTime is how long a body may take to come in.
	bodyTime = 10 * time.Second
	// saveTime is how long the store may take. With the body there already, the partners who wait the shortest (Slack: 3 s)
	// still get their answer.
	saveTime = 2500 * time.Millisecond
	// callsMost is how many calls are taken in at one time, and callsPlace how many of them to one address, which for an
	// integration's own address everybody knows: whoever keeps it busy must not keep the others out. callsKnown is how many
	// to all of those together, so that the links' own addresses, which nobody can guess, always have the rest.
	callsMost  = 128
	callsPlace = 32
	callsKnown = 64
	// sameFor is for how long equal bodies without an identifier are one call, where a call can be signed again.
	sameFor = 10 * time.Minute
	// maxAnswer bounds what an integration may answer.
	maxAnswer = 64 << 10
)

// Why a call is refused, as metrics count it.
const (
	refusedUnknown   = "unknown"   // no such address
	refusedMethod    = "method"    // not a POST, and nothing that is checked in another way
	refusedBusy      = "busy"      // too many at one time
	refusedLarge     = "large"     // the body
	refusedSlow      = "slow"      // the body, or it broke off
	refusedUnsigned  = "unsigned"  // no signature
	refusedSignature = "signature" // a wrong one, or an unreadable one
	refusedWindow    = "window"    // signed too long ago, or in the future
	refusedSecret    = "secret"    // nothing here could verify it
	refusedStore     = "store"     // it could not be stored
)

// refusal is a call that is not taken in.
type refusal struct {
	status     int
	code       patchbay.Code
	message    string
	reason     string // for metrics
	why        error  // for the log
	allow      string
	retryAfter int
	close      bool
}

// Error returns the sentence for the partner.
func (r *refusal) Error() string { return r.message }

// The refusals that say the same to everybody: what is wrong with a call is for the log.
var (
	errUnknown    = &refusal{status: 404, code: patchbay.CodeNotFound, message: "nothing is called at this address", reason: refusedUnknown}
	errUnverified = refusal{status: 401, code: patchbay.CodeUnauthorized, message: "the call could not be verified"}
)

// Handler answers the partners' calls: /integrations/{key}/hook and /integrations/{key}/hook/{token}, with the patterns'
// values set on the request.
func (s *Service) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	answer, err := s.take(w, r)
	if err == nil {
		writeAnswer(w, answer)
		return
	}
	var no *refusal
	if !errors.As(err, &no) {
		no = &refusal{status: 500, code: patchbay.CodeInternal, message: "something went wrong on our side", reason: "internal", why: err}
	}
	key := r.PathValue("key")
	if _, ok := s.receiver(key); !ok {
		key = "" // anybody can name any number of them
	}
	s.o.Observer.HookRefused(key, no.reason)
	level := slog.LevelInfo
	if no.reason == refusedUnknown || no.reason == refusedMethod {
		level = slog.LevelDebug // whoever looks for addresses must not fill the log
	}
	s.o.Log.LogAttrs(r.Context(), level, "a call of a partner was refused",
		slog.String("integration", key), slog.String("reason", no.reason), slog.Any("error", no.why))
	no.write(w)
}

// write answers a call that is not taken in.
func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	if r.allow != "" {
		h.Set("Allow", r.allow)
	}
	if r.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	if r.close {
		h.Set("Connection", "close")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(struct {
		Error string        `json:"error"`
		Type  patchbay.Code `json:"type"`
	}{r.message, r.code})
}

// writeAnswer answers a call as its integration wants it answered. What a partner gets back is never a page.
func writeAnswer(w http.ResponseWriter, a *integration.HookAnswer) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	status := http.StatusOK
	if a == nil {
		w.WriteHeader(status)
		return
	}
	for _, f := range a.Header {
		h.Add(f.Name, f.Value)
	}
	if len(a.Body) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if a.Status >= 200 && a.Status < 600 {
		status = a.Status
	}
	w.WriteHeader(status)
	_, _ = w.Write(a.Body[:min(len(a.Body), maxAnswer)])
}

// take takes one call in and returns what the partner is answered.
func (s *Service) take(w http.ResponseWriter, r *http.Request) (*integration.HookAnswer, error) {
	key := r.PathValue("key")
	receiver, ok := s.receiver(key)
	target, err := s.target(key, r.PathValue("token"), ok)
	if err != nil {
		return nil, err
	}
	hand, _ := receiver.(integration.Handshaker)
	if allow := methods(hand); r.Method != http.MethodPost && hand == nil {
		return nil, notAllowed(allow)
	}
	place := key
	if target != nil {
		place = target.Link.ID.String()
	}
	if !s.places.enter(place, target == nil) {
		return nil, &refusal{status: 503, code: patchbay.CodeUnavailable, reason: refusedBusy, retryAfter: 1, close: true,
			message: "too many calls come in at this moment: send it again in a second"}
	}
	defer s.places.leave(place, target == nil)
	body, err := s.readBody(w, r)
	if err != nil {
		return nil, err
	}
	c := s.call(key, target)
	c.Method, c.Header, c.Query, c.Body, c.ReceivedAt = r.Method, r.Header, r.URL.Query(), body, s.now().UTC().Truncate(time.Millisecond)
	if hand != nil {
		answer, err := s.handshake(r.Context(), hand, c, target)
		if answer != nil || err != nil {
			return answer, err
		}
	}
	if r.Method != http.MethodPost {
		return nil, notAllowed(methods(hand))
	}
	return s.accept(r, receiver, c, key, target)
}

// target finds the link of an address; nil at an integration's own. Every address that leads nowhere is the same one: which
// integrations there are, and which tokens, is not told.
func (s *Service) target(key, token string, receives bool) (*Target, error) {
	if token == "" {
		if !receives {
			return nil, errUnknown
		}
		return nil, nil
	}
	target, ok := s.o.Links.HookLink(key, token)
	if !ok || !receives {
		return nil, errUnknown
	}
	return target, nil
}

func methods(hand integration.Handshaker) string {
	if hand == nil {
		return "POST"
	}
	return "GET, HEAD, POST, PUT"
}

func notAllowed(allow string) error {
	return &refusal{status: http.StatusMethodNotAllowed, code: patchbay.CodeInvalidRequest, reason: refusedMethod, allow: allow, close: true,
		message: "partners call this address with POST"}
}

// call makes what an integration sees of a call, for a link or, without one, for its own address.
func (s *Service) call(key string, target *Target) *integration.HookCall {
	c := &integration.HookCall{Config: s.o.Configs[key]}
	if target == nil {
		return c
	}
	c.Link, c.Scope, c.Settings, c.Secrets, c.Attaching = target.Link.ID, target.Link.Scope, target.Settings, target.Secrets, target.Attaching
	if target.Link.Attached != nil {
		c.State = target.Link.Attached.State
	}
	if con, ok := s.o.Connections.Known(target.Link.Connection); ok {
		c.Connection = &integration.Connected{ID: con.ID, Account: con.Account, Grants: con.Grants, Data: con.Data}
	}
	return c
}

// readBody reads a body once, in bounded time and size. Its memory grows with what has come, not with what was announced.
func (s *Service) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	large := &refusal{status: 413, code: patchbay.CodePayloadTooLarge, reason: refusedLarge, close: true,
		message: fmt.Sprintf("the body is larger than %d bytes", MaxBody)}
	if r.ContentLength > MaxBody {
		return nil, large
	}
	control := http.NewResponseController(w)
	bounded := control.SetReadDeadline(time.Now().Add(s.bodyTime)) == nil // a recorder in a test has none
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if bounded && err == nil {
		_ = control.SetReadDeadline(time.Time{}) // what is read from now on is whether the partner hangs up
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{status: http.StatusRequestTimeout, code: patchbay.CodeInvalidRequest, reason: refusedSlow, close: true,
			message: fmt.Sprintf("the body did not come in within %s: send it again", s.bodyTime)}
	case err != nil:
		return nil, &refusal{status: 400, code: patchbay.CodeInvalidRequest, reason: refusedSlow, close: true, why: err,
			message: "the body broke off: send it again"}
	case len(body) > MaxBody:
		return nil, large
	}
	return body, nil
}

// handshake lets an integration answer what comes before anything can be signed.
func (s *Service) handshake(ctx context.Context, hand integration.Handshaker, c *integration.HookCall, target *Target) (*integration.HookAnswer, error) {
	answer := hand.Handshake(c)
	if answer == nil {
		return nil, nil
	}
	if answer.Secret == "" {
		return answer, nil
	}
	if target == nil || !target.Attaching {
		no := errUnverified
		no.reason, no.why = refusedSecret, errors.New("it brings a secret for a link that is not being set up")
		return nil, &no
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := s.o.Links.Learn(saving, target.Link.ID, answer.Secret); err != nil {
		if patchbay.CodeOf(err) == patchbay.CodeConflict {
			no := errUnverified
			no.reason, no.why = refusedSecret, err
			return nil, &no
		}
		return nil, notStored(err)
	}
	return answer, nil
}

func notStored(err error) error {
	return &refusal{status: 503, code: patchbay.CodeUnavailable, reason: refusedStore, retryAfter: 5, why: err,
		message: "the call was not taken in, because the database cannot take it at the moment: send it again in a few seconds"}
}

// accept verifies a call, stores it and returns its answer.
func (s *Service) accept(r *http.Request, receiver integration.Receiver, c *integration.HookCall, key string, target *Target) (*integration.HookAnswer, error) {
	v := receiver.Verification(c)
	if err := s.verify(r, v, c, target); err != nil {
		return nil, err
	}
	h := &store.Hook{
		Integration: key, Link: c.Link, ReceivedAt: c.ReceivedAt, Header: keptHeader(c.Header, v.Scheme), Query: keptQuery(c.Query), Body: c.Body,
		State: patchbay.HookPending,
	}
	if target != nil {
		h.Scope, h.Placed = target.Link.Scope, true
	}
	opened, unreadable := open(receiver, c)
	if unreadable == nil {
		if opened.Done {
			s.o.Observer.HookReceived(key, "answered")
			return opened.Answer, nil
		}
		h.Type, h.Account = clip(opened.Type), clip(opened.Account)
	} else {
		opened = &integration.Envelope{}
	}
	h.ID = patchbay.HookID(s.o.NewID(1))
	h.Key = keyOf(h, opened.Key, v.Scheme, c)
	saving, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), saveTime)
	defer cancel()
	existing, err := s.o.Store.SaveHook(saving, h)
	if err != nil {
		return nil, notStored(err)
	}
	if existing != 0 && existing != h.ID {
		s.o.Observer.HookReceived(key, "duplicate")
		return opened.Answer, nil
	}
	s.o.Observer.HookReceived(key, "stored")
	s.enqueue(h)
	return opened.Answer, nil
}

// open lets an integration read as much of a call as its answer needs.
func open(receiver integration.Receiver, c *integration.HookCall) (e *integration.Envelope, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the integration failed while opening the call: %v", p)
		}
	}()
	e, err = receiver.Open(c)
	if err == nil && e == nil {
		err = errors.New("the integration says nothing about the call")
	}
	return e, err
}

// verify proves that the call comes from the partner.
func (s *Service) verify(r *http.Request, v integration.Verification, c *integration.HookCall, target *Target) error {
	no := errUnverified
	if v.Scheme.Name == "" && v.Scheme.Algorithm == "" {
		if target != nil {
			return nil // the token in the address proves it
		}
		no.reason, no.why = refusedUnsigned, errors.New("the integration's own address takes signed calls only")
		return &no
	}
	err := v.Scheme.Verify(c.Header, s.o.PublicURL+r.URL.RequestURI(), c.Method, c.Body, v.Secrets, c.ReceivedAt)
	no.why = err
	switch {
	case err == nil:
		return nil
	case errors.Is(err, signature.ErrMissing):
		no.reason = refusedUnsigned
	case errors.Is(err, signature.ErrWindow):
		no.reason = refusedWindow
	case errors.Is(err, signature.ErrSecret):
		no.reason = refusedSecret
	default:
		no.reason = refusedSignature
	}
	return &no
}

// keyOf tells calls that are the same one apart from others: by the partner's identifier, or by the body where there is
// none. Where a signature holds for a while only, or there is none, equal bodies later on are another call: a service that
// says "up" every day says something new each time. A signature that holds forever can be played again forever.
func keyOf(h *store.Hook, partners string, scheme signature.Scheme, c *integration.HookCall) (key [16]byte) {
	d := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = d.Write(n[:])
		_, _ = d.Write(b)
	}
	part([]byte(h.Integration))
	if h.Link != 0 {
		part([]byte(h.Link.String()))
	} else {
		part([]byte(h.Account))
	}
	if partners != "" {
		part([]byte("id"))
		part([]byte(partners))
	} else {
		part([]byte("body"))
		part(c.Body)
		if !covers(scheme) || strings.Contains(scheme.Content, "{url}") { // else anybody can make it another one
			part([]byte(h.Query))
		}
		part([]byte(span(scheme, c)))
	}
	copy(key[:], d.Sum(nil))
	return key
}

// covers reports whether a scheme signs what is said, rather than only proving who says it.
func covers(scheme signature.Scheme) bool {
	switch scheme.Algorithm {
	case "", signature.Token, signature.Basic, signature.JWT:
		return false
	}
	return true
}

// span is the time in which an equal body is the same call; "" is forever.
func span(scheme signature.Scheme, c *integration.HookCall) string {
	at := c.ReceivedAt
	if covers(scheme) {
		if scheme.Window == 0 {
			return ""
		}
		// What was signed decides, so that a call that is played again always meets the first.
		if seconds, err := strconv.ParseInt(scheme.Timestamp(c.Header), 10, 64); err == nil {
			at = time.Unix(seconds, 0)
		}
	}
	return at.UTC().Truncate(sameFor).Format(time.RFC3339)
}

// places counts the calls that are being taken in. Its zero value is empty.
type places struct {
	mu    sync.Mutex
	all   int
	known int
	by    map[string]int
}

// enter lets a call in; known says that its address is one that everybody knows.
func (p *places) enter(place string, known bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= callsMost || p.by[place] >= callsPlace || known && p.known >= callsKnown {
		return false
	}
	if known {
		p.known++
	}
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.all++
	p.by[place]++
	return true
}

func (p *places) leave(place string, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known {
		p.known--
	}
	p.all--
	if p.by[place]--; p.by[place] == 0 {
		delete(p.by, place)
	}
}

// keptQuery spells what is kept of a query.
func keptQuery(q url.Values) string {
	kept := url.Values{}
	for name, values := range q {
		if !credential(name) {
			kept[name] = values
		}
	}
	text := kept.Encode()
	if len(text) > maxKeptHeader {
		return ""
	}
	return text
}
