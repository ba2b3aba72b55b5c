package links

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/route"
)

// compiled is a link ready for routing and delivery.
type compiled struct {
	deliver *deliver.Link
	route   *route.Link
	// broken says why a stored link cannot be used: its integration is gone, its settings no longer fit. It counts as
	// disabled until it is changed.
	broken string
	events *counter
	// keys counts events on which the order's key could not be evaluated.
	keys *counter

	integration integration.Integration
	// settings is what Definition.Decode returned.
	settings any
	// receives says that the partner calls in over the link.
	receives bool
	// target is the place at the partner that the link leads to; see integration.Targeter.
	target string

	// named is the link that short and long describe, and words what a search looks at.
	named              *patchbay.Link
	short, long, words string
}

// call works out once what a link is called.
func (s *Service) call(l *patchbay.Link, c *compiled) {
	c.short, c.long = s.summary(l, c)
	c.named, c.words = l, strings.ToLower(c.short+" "+c.long+" "+string(l.Scope)+" "+l.Integration+" "+l.ID.String())
}

// compile makes a link ready. It checks everything that saving checks but the settings' Spec, which has been applied.
func (s *Service) compile(l *patchbay.Link) (*compiled, error) {
	i, def, err := s.integration(l.Integration)
	if err != nil {
		return nil, err
	}
	if l.OptOut {
		return s.compileOptOut(i, def, l), nil
	}
	settings, err := def.Decode(l.Settings)
	if err != nil {
		return nil, err
	}
	d := &deliver.Link{
		Link: l, Definition: def, Settings: settings, Secrets: def.Settings.Secrets(l.Settings),
		Config: s.o.Configs[l.Integration], Host: destination(def.Settings, l.Settings),
	}
	d.Sender, _ = i.(integration.Sender)
	d.Tester, _ = i.(integration.Tester)
	if l.Previous != nil {
		d.Secrets = append(d.Secrets, l.Previous.Value.Reveal())
	}
	d.Redactor = outbound.NewRedactor(d.Secrets)
	r := &route.Link{
		ID: l.ID, Revision: l.Revision, Scope: l.Scope, Reach: l.Reach, Events: l.Events, Slot: l.Slot,
		Integration: l.Integration, State: l.State, Value: d,
	}
	if !l.Enabled {
		r.State = patchbay.LinkDisabled
	}
	if t, ok := i.(integration.Targeter); ok {
		r.Target = t.Target(settings)
	}
	if l.Filter != "" {
		if r.Filter, err = route.CompileFilter(l.Filter); err != nil {
			return nil, at("filter", err)
		}
	}
	if l.Body != "" {
		body, err := route.CompileBody(l.Body)
		if err != nil {
			return nil, at("body", err)
		}
		d.Body = func(e *patchbay.Event) ([]byte, error) {
			return body.Eval(&route.Event{Event: e, Names: []string{e.Type}})
		}
	}
	c := &compiled{
		deliver: d, route: r, events: &counter{}, keys: &counter{}, integration: i, settings: settings, target: r.Target,
		receives: receives(i, def, settings),
	}
	if l.Order != nil && l.Order.Key != "" {
		key, err := route.CompileKey(l.Order.Key)
		if err != nil {
			return nil, at("order.key", err)
		}
		d.OrderKey = func(e *patchbay.Event) string {
			text, err := key.Eval(&route.Event{Event: e, Names: []string{e.Type}})
			if err != nil {
				c.keys.count(err)
			}
			return text
		}
	}
	return c, nil
}

// compileOptOut makes a link ready that only takes the place of another: it has no settings and is never sent over.
func (s *Service) compileOptOut(i integration.Integration, def *integration.Definition, l *patchbay.Link) *compiled {
	return &compiled{
		integration: i, deliver: &deliver.Link{Link: l, Definition: def}, events: &counter{}, keys: &counter{},
		route: &route.Link{
			ID: l.ID, Revision: l.Revision, Scope: l.Scope, Reach: l.Reach, Events: l.Events, Slot: l.Slot, Integration: l.Integration,
			State: patchbay.LinkDisabled, OptOut: true, Value: &deliver.Link{Link: l, Definition: def},
		},
	}
}

// receives reports whether a partner calls in over a link with these settings.
func receives(i integration.Integration, def *integration.Definition, settings any) bool {
	if _, ok := i.(integration.Receiver); !ok {
		return false
	}
	return def.Hooked == nil || def.Hooked(settings)
}

// purpose refuses a link that has nothing to do.
func (c *compiled) purpose(l *patchbay.Link) error {
	if l.OptOut {
		return nil
	}
	if err := purpose(c.integration, l); err != nil {
		return err
	}
	sends := c.deliver.Sender != nil
	if says := c.deliver.Definition.Sends; sends && says != nil {
		sends = says(c.settings)
	}
	switch {
	case !sends && !c.receives:
		return patchbay.Invalid("settings", "with these settings the link neither sends nor receives anything")
	case !sends && len(l.Events) > 0:
		return patchbay.Invalid("events", "with these settings the link sends nothing: leave events out, or say in the settings what is sent")
	case len(l.Events) == 0 && !c.receives:
		return noEvents()
	}
	return nil
}

// purpose refuses a link whose integration cannot do what it is for, whatever the settings.
func purpose(i integration.Integration, l *patchbay.Link) error {
	_, sends := i.(integration.Sender)
	_, takes := i.(integration.Receiver)
	switch {
	case !sends && !takes:
		return patchbay.Errorf(patchbay.CodeUnsupportedIntegration, "the integration %q neither sends nor receives events", l.Integration)
	case !sends && len(l.Events) > 0:
		return patchbay.Invalid("events", "the integration %q only receives, so no event goes over its links: leave events out", l.Integration)
	case !takes && len(l.Events) == 0:
		return noEvents()
	}
	return nil
}

func noEvents() error {
	return patchbay.Invalid("events", "needs at least one pattern; * matches every event type")
}

// integration returns an integration and its definition.
func (s *Service) integration(key string) (integration.Integration, *integration.Definition, error) {
	i, ok := s.o.Integrations[key]
	if !ok {
		return nil, nil, patchbay.Errorf(patchbay.CodeUnsupportedIntegration,
			"there is no integration %q; GET /integrations lists those that there are", clip(key))
	}
	return i, i.Definition(), nil
}

// at puts an error at a place in the request.
func at(path string, err error) error {
	return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: path + ": " + err.Error(),
		Details: []patchbay.Detail{{Path: path, Message: err.Error()}}}
}

// destination finds the host and port that settings lead to: that of the first target address, else of the first
// address at all.
func destination(spec integration.Spec, raw json.RawMessage) string {
	var in map[string]any
	if json.Unmarshal(raw, &in) != nil {
		return ""
	}
	first := ""
	for i := range spec {
		text, _ := in[spec[i].Key].(string)
		if spec[i].Type != integration.TypeURL || text == "" {
			continue
		}
		if host := hostPort(text); host != "" {
			if spec[i].Target {
				return host
			}
			if first == "" {
				first = host
			}
		}
	}
	return first
}

// hostPort spells an address's host and port the same way however it was written.
func hostPort(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Adhoc makes a link that is not stored, for an inline call: only integration and settings are in it.
func (s *Service) Adhoc(key string, settings json.RawMessage, o integration.CheckOptions) (*deliver.Link, error) {
	i, _, err := s.integration(key)
	if err != nil {
		return nil, err
	}
	if _, ok := i.(integration.Sender); !ok {
		return nil, patchbay.Errorf(patchbay.CodeUnsupportedIntegration, "the integration %q cannot send events", key)
	}
	c, err := s.provisional(&patchbay.Link{Integration: key}, settings, o)
	if err != nil {
		return nil, err
	}
	return c.deliver, nil
}

// provisional makes a link ready that is not stored.
func (s *Service) provisional(l *patchbay.Link, settings json.RawMessage, o integration.CheckOptions) (*compiled, error) {
	_, def, err := s.integration(l.Integration)
	if err != nil {
		return nil, err
	}
	o.Connected = l.Connection != 0
	if l.Settings, err = def.Settings.Check(settings, o); err != nil {
		return nil, err
	}
	l.Reach, l.Enabled, l.State = patchbay.ReachSubtree, true, patchbay.LinkActive
	if l.Events == nil {
		l.Events = []patchbay.Pattern{"*"}
	}
	return s.compile(l)
}

// Revision returns a link as it was, ready to send.
func (s *Service) Revision(ctx context.Context, id patchbay.LinkID, revision int) (*deliver.Link, error) {
	s.mu.RLock()
	c := s.links[id]
	s.mu.RUnlock()
	if c != nil && c.deliver != nil && c.deliver.Revision == revision {
		return c.deliver, nil
	}
	l, err := s.o.Store.LinkRevision(ctx, id, revision)
	if err != nil {
		return nil, err
	}
	old, err := s.compile(l)
	if err != nil {
		return nil, err
	}
	return old.deliver, nil
}

// summary describes a link in one line: "repo.push in acme/repos/1 → #develop".
func (s *Service) summary(l *patchbay.Link, c *compiled) (short, long string) {
	if c != nil && c.named == l {
		return c.short, c.long
	}
	title, destination := l.Integration, ""
	if i, ok := s.o.Integrations[l.Integration]; ok {
		title = i.Definition().Title
		destination = title
		if sum, ok := i.(integration.Summarizer); ok && c != nil && c.settings != nil {
			title, destination = sum.ShortName(c.deliver.Settings), sum.Destination(c.deliver.Settings)
		}
	}
	if l.Name != "" {
		title = l.Name
	}
	if l.OptOut {
		return title, fmt.Sprintf("nothing in %s from what is in the slot %q further up", l.Scope, l.Slot)
	}
	if c != nil && c.receives && len(l.Events) == 0 {
		return title, s.incoming(l, destination)
	}
	const shown = 3
	events := make([]string, 0, shown)
	for _, p := range l.Events[:min(len(l.Events), shown)] {
		events = append(events, string(p))
	}
	long = strings.Join(events, ", ")
	if more := len(l.Events) - shown; more > 0 {
		long += fmt.Sprintf(" and %d more", more)
	}
	if long == "*" {
		long = "everything"
	}
	if l.Scope != "" {
		long += " in " + string(l.Scope)
	}
	return title, long + " → " + destination
}

// incoming describes a link that only receives: "github.push from acme/web → acme/teams/1".
func (s *Service) incoming(l *patchbay.Link, from string) string {
	what := "what happens"
	if i, ok := s.o.Integrations[l.Integration]; ok {
		if types := i.Definition().Types; len(types) > 0 {
			what = types[0].Key
			if more := len(types) - 1; more > 0 {
				what += fmt.Sprintf(" and %d more", more)
			}
		}
	}
	into := string(l.Scope)
	if into == "" {
		into = "the whole installation"
	}
	return what + " from " + from + " → " + into
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
