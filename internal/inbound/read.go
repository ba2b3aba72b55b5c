package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// eventsMost bounds how many events one call may become.
	eventsMost = 1000
	// maxReason bounds what is kept of why a call became nothing.
	maxReason = 2 << 10
	// typeEntry is the event that tells what a person got done.
	typeEntry = "entry.created"
)

// errLater says that reading came to nothing this time, for a reason that may pass.
var errLater = errors.New("trying again later")

// outcome is what reading a call came to.
type outcome struct {
	state   patchbay.HookState
	reasons []string
	links   []patchbay.LinkID
	events  []patchbay.EventID
	later   error // the reason why it must be read again
	wait    time.Duration
}

// read reads a call and notes what came of it. It returns until when the call must wait when it must be read again.
func (s *Service) read(ctx context.Context, h *store.Hook, by func(context.Context) context.Context) (again time.Time) {
	reading := context.WithoutCancel(ctx) // what has begun is finished: see Stop
	finishing := reading
	if by != nil { // somebody wants it to be read again, which is written down
		finishing = by(reading)
	}
	h.Reads++
	out := s.understand(reading, h)
	if out.later != nil {
		if h.Reads < readsMost {
			h.Reason = limit("It will be read again: " + out.later.Error())
			s.finish(finishing, h)
			return s.now().Add(max(pause(h.Reads), out.wait))
		}
		out.state, out.reasons = patchbay.HookFailed, append(out.reasons, out.later.Error())
	}
	h.State, h.Reason, h.Links, h.Events = out.state, limit(strings.Join(out.reasons, " ")), out.links, out.events
	if !s.finish(finishing, h) {
		h.State = patchbay.HookPending
		return s.now().Add(pause(h.Reads))
	}
	s.o.Observer.HookRead(h.Integration, h.State, s.now().Sub(h.ReceivedAt))
	return time.Time{}
}

// finish notes what a call came to. When the store cannot, the call is read again, which makes the same events.
func (s *Service) finish(ctx context.Context, h *store.Hook) bool {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	err := s.o.Store.FinishHook(ctx, h)
	if err == nil || errors.Is(err, store.ErrNotFound) { // deleted meanwhile
		return true
	}
	s.o.Log.Warn("what came of a partner's call could not be noted; it will be read again", "hook", h.ID, "error", err)
	return false
}

// understand finds the links of a call and makes events of it.
func (s *Service) understand(ctx context.Context, h *store.Hook) (out outcome) {
	receiver, ok := s.receiver(h.Integration)
	if !ok {
		return failed("this installation has no integration %q that receives anything", h.Integration)
	}
	c := s.call(h.Integration, nil)
	c.Method, c.Header, c.Body, c.ReceivedAt, c.Link = http.MethodPost, http.Header(h.Header), h.Body, h.ReceivedAt, h.Link
	c.Query, _ = url.ParseQuery(h.Query)
	targets, decided := s.targets(h)
	if h.Link != 0 && len(targets) > 0 {
		c = s.aimed(c, h.Integration, targets[0])
	}
	e, err := open(receiver, c)
	if err != nil {
		return failed("The call cannot be read: %v.", err)
	}
	if e.Type != "" {
		h.Type = clip(e.Type)
	}
	if h.Link == 0 && e.Account != "" && clip(e.Account) != h.Account {
		h.Account = clip(e.Account) // an integration of a newer version may understand more
		targets, decided = s.targets(h)
	}
	if decided != nil {
		return *decided
	}
	h.Scope, h.Placed = common(targets), true
	for _, t := range targets {
		s.readFor(ctx, receiver, s.aimed(c, h.Integration, t), h, t, &out)
		if out.later != nil {
			return out
		}
	}
	if out.state == "" {
		out.state = patchbay.HookIgnored
	}
	return out
}

func failed(format string, args ...any) outcome {
	return outcome{state: patchbay.HookFailed, reasons: []string{fmt.Sprintf(format, args...)}}
}

// aimed is a call for one link.
func (s *Service) aimed(c *integration.HookCall, key string, t *Target) *integration.HookCall {
	mine := s.call(key, t)
	mine.Method, mine.Header, mine.Query, mine.Body, mine.ReceivedAt = c.Method, c.Header, c.Query, c.Body, c.ReceivedAt
	return mine
}

// targets finds the links of a call, or what is decided without one.
func (s *Service) targets(h *store.Hook) ([]*Target, *outcome) {
	if h.Link != 0 {
		t, ok := s.o.Links.HookTarget(h.Link)
		switch {
		case !ok || t.Link.Integration != h.Integration:
			return nil, &outcome{state: patchbay.HookIgnored, reasons: []string{"The link was deleted, or is being taken down."}}
		case t.Link.State == patchbay.LinkDetaching:
			return nil, &outcome{state: patchbay.HookIgnored, reasons: []string{"The link is being taken down."}}
		case !t.Link.Enabled:
			return []*Target{t}, &outcome{state: patchbay.HookIgnored, reasons: []string{"The link is disabled."}}
		}
		return []*Target{t}, nil
	}
	var targets []*Target
	if h.Account != "" {
		for _, con := range s.o.Connections.ByAccount(h.Integration, h.Account) {
			for _, t := range s.o.Links.Receiving(h.Integration, con.ID) {
				// Whoever finds links must not be believed about what separates one customer from another.
				if t.Link.Connection == con.ID && con.Account.ID == h.Account && con.Scope.Contains(t.Link.Scope) &&
					t.Link.Enabled && t.Link.State != patchbay.LinkDetaching {
					targets = append(targets, t)
				}
			}
		}
	}
	if len(targets) > 0 {
		return targets, nil
	}
	h.Scope, h.Placed = "", false
	reason := fmt.Sprintf("No link that receives uses a connection of the account %q. Replay the call once there is one.", h.Account)
	if h.Account == "" {
		reason = "The call does not say which account it is about."
	}
	return nil, &outcome{state: patchbay.HookUnplaced, reasons: []string{reason}}
}

// common is the lowest scope that holds those of all links.
func common(targets []*Target) patchbay.Scope {
	scope := targets[0].Link.Scope
	for _, t := range targets[1:] {
		for !scope.Contains(t.Link.Scope) {
			scope, _ = scope.Parent()
		}
	}
	return scope
}

// readFor reads a call for one link, of which there may be many, each in its own time.
func (s *Service) readFor(ctx context.Context, receiver integration.Receiver, c *integration.HookCall, h *store.Hook, t *Target, out *outcome) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	out.links = append(out.links, t.Link.ID)
	reading, err := readSafely(ctx, receiver, c)
	if doubter, ok := s.o.Connections.(Doubter); ok && err == nil && reading != nil && reading.Ended && t.Link.Connection != 0 {
		doubter.Doubt(ctx, t.Link.Connection)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		out.later = fmt.Errorf("reading it took longer than %s", readTime)
		return
	case err != nil:
		out.fail("The call cannot be read: %v.", err)
		return
	case reading == nil || len(reading.Events) == 0:
		reason := "It says nothing worth an event."
		if reading != nil && reading.Ignored != "" {
			reason = reading.Ignored
		}
		out.ignore(reason)
		return
	case len(reading.Events) > eventsMost:
		out.fail("The call holds %d events; at most %d are taken.", len(reading.Events), eventsMost)
		return
	}
	for i := range reading.Events {
		s.bring(ctx, &reading.Events[i], &origin{hook: h, target: t, call: c, name: fmt.Sprintf("%s/%s/%d", h.ID, t.Link.ID, i)}, out)
		if out.later != nil {
			return
		}
	}
}

// readSafely reads a call; an integration that fails on it fails alone.
func readSafely(ctx context.Context, receiver integration.Receiver, c *integration.HookCall) (r *integration.Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the integration failed while reading it: %v", p)
		}
	}()
	return receiver.Read(ctx, c)
}

func (o *outcome) fail(format string, args ...any) {
	o.state = patchbay.HookFailed
	o.reasons = append(o.reasons, fmt.Sprintf(format, args...))
}

// ignore notes why something became no event.
func (o *outcome) ignore(reason string) {
	if o.state == "" {
		o.state = patchbay.HookIgnored
	}
	if len(o.reasons) < 10 && !slices.Contains(o.reasons, reason) {
		o.reasons = append(o.reasons, reason)
	}
}

// done notes an event.
func (o *outcome) done(id patchbay.EventID) {
	if o.state != patchbay.HookFailed {
		o.state = patchbay.HookDone
	}
	if !slices.Contains(o.events, id) {
		o.events = append(o.events, id)
	}
}

// origin is where an event of a call comes from.
type origin struct {
	hook   *store.Hook
	target *Target
	call   *integration.HookCall
	name   string // names the event among those of all calls
}

// bring takes in one event of a call, and the entries that it tells of.
func (s *Service) bring(ctx context.Context, in *integration.Inbound, from *origin, out *outcome) {
	scope := from.target.Link.Scope
	if in.Scope != nil {
		scope = *in.Scope
	}
	switch {
	case in.Own:
		out.ignore("It is what we did there ourselves.")
		return
	case in.Hops+1 > patchbay.MaxHops:
		out.ignore(fmt.Sprintf("It has been here %d times already, so it ends.", in.Hops))
		return
	case !from.target.Link.Scope.Contains(scope):
		out.fail("The scope %q does not lie below that of the link.", scope)
		return
	}
	e := ingest.Brought{
		Key: from.name, Remember: s.o.Remember, Type: in.Type, Scope: scope, Payload: in.Payload, OccurredAt: in.OccurredAt,
		Hops: max(in.Hops, 0) + 1,
		Source: patchbay.Source{
			Kind: patchbay.SourceHook, Link: from.target.Link.ID, Integration: from.hook.Integration, Target: from.target.Target,
		},
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = from.hook.ReceivedAt
	}
	if len(e.Payload) == 0 {
		e.Payload = json.RawMessage("{}")
	}
	entries := in.Entries
	if in.Entry != nil {
		entries = append([]integration.Entry{*in.Entry}, entries...)
	}
	e.Actor, _ = s.actor(in.Actor, from)
	if !s.bringOne(ctx, &e, out) {
		return
	}
	for i := range entries {
		if len(entries) > eventsMost {
			out.fail("The event tells of %d entries; at most %d are taken.", len(entries), eventsMost)
			return
		}
		if !s.bringOne(ctx, s.entry(&entries[i], i, in.Actor, &e, from), out) {
			return
		}
	}
}

// bringOne takes in one event. It returns false when the call must be read again.
func (s *Service) bringOne(ctx context.Context, e *ingest.Brought, out *outcome) bool {
	receipt, err := s.o.Events.Bring(ctx, e)
	switch {
	case err == nil:
		out.done(receipt.Event)
	case ingest.Final(err):
		out.fail("%s: %s.", e.Type, strings.TrimSuffix(err.Error(), "."))
	default:
		var known *patchbay.Error
		if errors.As(err, &known) {
			out.wait = time.Duration(known.RetryAfter) * time.Second
			out.later = fmt.Errorf("%w: %s", errLater, known.Message) // the cause is for the log
		} else {
			out.later = errLater
		}
		s.o.Log.Warn("an event of a partner's call could not be taken in; trying again later", "type", e.Type, "error", err)
		return false
	}
	return true
}

// entry makes the event that tells what a person got done.
func (s *Service) entry(in *integration.Entry, i int, actor *integration.Person, beside *ingest.Brought, from *origin) *ingest.Brought {
	type author struct {
		ExternalID string `json:"external_id,omitempty"`
		Name       string `json:"name,omitempty"`
		Email      string `json:"email,omitempty"`
	}
	payload := struct {
		Text        string  `json:"text"`
		OccurredOn  string  `json:"occurred_on"`
		Source      string  `json:"source"`
		ExternalID  string  `json:"external_id,omitempty"`
		ExternalURL string  `json:"external_url,omitempty"`
		Author      *author `json:"author,omitempty"`
	}{Text: in.Text, OccurredOn: in.OccurredOn, Source: from.hook.Integration, ExternalID: in.ExternalID, ExternalURL: in.ExternalURL}
	if payload.OccurredOn == "" {
		payload.OccurredOn = beside.OccurredAt.UTC().Format(time.DateOnly)
	}
	if in.Author != nil {
		actor = in.Author
	}
	e := *beside
	e.Key, e.Type = from.name+"/entry/"+strconv.Itoa(i), typeEntry
	e.Scope = from.target.Link.Scope
	var person *patchbay.Connection
	e.Actor, person = s.actor(actor, from)
	if actor != nil {
		payload.Author = &author{ExternalID: actor.ID, Name: actor.Name, Email: actor.Email}
	}
	if person != nil && person.OwnerScope != nil && person.OwnerScope.Tenant() == e.Scope.Tenant() && *person.OwnerScope != e.Scope {
		e.Also = []patchbay.Scope{*person.OwnerScope}
	}
	e.Payload, _ = json.Marshal(payload) // texts alone cannot fail
	return &e
}

// actor says who did it, and finds the connection of the same person.
func (s *Service) actor(p *integration.Person, from *origin) (json.RawMessage, *patchbay.Connection) {
	if p == nil {
		return nil, nil
	}
	con := s.person(p, from)
	actor := struct {
		Name   string `json:"name,omitempty"`
		Avatar string `json:"avatar,omitempty"`
		URL    string `json:"url,omitempty"`
		ID     string `json:"id,omitempty"`
		Email  string `json:"email,omitempty"`
		User   string `json:"user,omitempty"`
	}{Name: p.Name, Avatar: p.Avatar, URL: p.URL, ID: p.ID, Email: p.Email}
	if con != nil {
		actor.User = con.Owner
	}
	raw, err := json.Marshal(actor)
	if err != nil {
		return nil, con
	}
	return raw, con
}

// person finds the connection of somebody at the partner, in the link's tenant: one that says whose things these are
// before one that does not.
func (s *Service) person(p *integration.Person, from *origin) *patchbay.Connection {
	if p.ID == "" {
		return nil
	}
	account, mine := p.ID, func(*patchbay.Connection) bool { return true }
	if r, ok := s.o.Integrations[from.hook.Integration].(integration.Recognizer); ok {
		mine = func(con *patchbay.Connection) bool { return r.Person(con.Data) == p.ID }
		account = from.hook.Account
		if account == "" && from.call.Connection != nil {
			account = from.call.Connection.Account.ID
		}
	}
	var best *patchbay.Connection
	for _, con := range s.o.Connections.ByAccount(from.hook.Integration, account) {
		if con.Scope.Tenant() != from.target.Link.Scope.Tenant() || con.Owner == "" && con.OwnerScope == nil || !mine(&con) {
			continue
		}
		if best == nil || best.OwnerScope == nil && con.OwnerScope != nil {
			best = &con
		}
	}
	return best
}

// limit shortens a reason.
func limit(s string) string {
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}
