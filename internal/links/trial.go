package links

import (
	"context"
	"encoding/json"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

// Draft is what there is of a link before it is saved: for tests of settings, and for choices.
type Draft struct {
	// Settings is a JSON object; masks in it stand for the stored values of Link.
	Settings   json.RawMessage
	Connection *string
	// Scope is, when it is nil, that of the link or of the connection, or else the caller's own.
	Scope *string
	// Link is the stored link that is being changed, if one is.
	Link *patchbay.LinkID
}

// Test sends the event integration_test over a link, or does what the integration does instead.
func (s *Service) Test(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*TestResult, error) {
	l, compiled, err := s.findElsewhere(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if compiled.broken != "" {
		return nil, patchbay.Errorf(patchbay.CodeMisconfiguredIntegration, "the link cannot be used: %s", compiled.broken)
	}
	if err := testable(compiled); err != nil {
		return nil, err
	}
	return s.try(ctx, compiled.deliver, l.Scope), nil
}

// TestSettings tests settings that are not stored.
func (s *Service) TestSettings(ctx context.Context, c *access.Caller, key string, in Draft) (*TestResult, error) {
	l, err := s.draft(ctx, c, key, &in)
	if err != nil {
		return nil, err
	}
	if err := s.entrusted(c, l); err != nil {
		return nil, err
	}
	compiled, err := s.provisional(l, in.Settings, integration.CheckOptions{})
	if err != nil {
		return nil, err
	}
	if err := testable(compiled); err != nil {
		return nil, err
	}
	return s.try(ctx, compiled.deliver, l.Scope), nil
}

func testable(c *compiled) error {
	if c.deliver.OptOut {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the link is only there to opt out of another one, so there is nothing to test")
	}
	if c.deliver.Sender == nil && c.deliver.Tester == nil {
		return patchbay.Errorf(patchbay.CodeUnsupportedIntegration, "the integration %q only receives, so there is nothing that could be tested from here", c.deliver.Integration)
	}
	return nil
}

// draft makes a link of what a caller says of one that is not saved: placed and connected as the caller may, its stored
// secrets in place of their masks (in d.Settings, which are otherwise unchecked).
func (s *Service) draft(ctx context.Context, c *access.Caller, key string, d *Draft) (*patchbay.Link, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	_, def, err := s.integration(key)
	if err != nil {
		return nil, err
	}
	l := &patchbay.Link{Integration: key, Scope: c.Scope, Settings: json.RawMessage("{}")}
	if d.Link != nil {
		stored, _, err := s.findElsewhere(ctx, c, access.Manage, *d.Link)
		if err != nil {
			return nil, err
		}
		if stored.Integration != key {
			return nil, patchbay.Invalid("link", "the link %s is one of the integration %q", *d.Link, stored.Integration)
		}
		l.ID, l.Scope, l.Connection, l.Settings = stored.ID, stored.Scope, stored.Connection, stored.Settings
		if d.Settings, err = def.Settings.Merge(stored.Settings, d.Settings); err != nil {
			return nil, err
		}
	}
	if d.Scope != nil {
		scope, err := patchbay.ParseScope(*d.Scope)
		if err != nil {
			return nil, at("scope", err)
		}
		l.Scope = scope
	}
	kept := l.Connection
	if d.Connection != nil {
		if l.Connection, err = parseConnection(*d.Connection); err != nil {
			return nil, err
		}
		if d.Scope == nil && d.Link == nil {
			s.scopeOf(c, l)
		}
	}
	if err := s.place(c, def, l.Scope); err != nil {
		return nil, err
	}
	if l.Connection != kept { // else the link uses it already, whoever put it there
		con, err := s.connect(ctx, c, l)
		if err != nil {
			return nil, err
		}
		if d.Settings, err = fill(def, d.Settings, con); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// scopeOf places a link that says no scope where its connection is, as far as the caller sees that.
func (s *Service) scopeOf(c *access.Caller, l *patchbay.Link) {
	if s.o.Connections == nil {
		return
	}
	if con, ok := s.o.Connections.Known(l.Connection); ok && c.Sees(con.Scope) {
		l.Scope = con.Scope
	}
}

func (s *Service) try(ctx context.Context, l *deliver.Link, scope patchbay.Scope) *TestResult {
	now := s.now().UTC()
	event := &patchbay.Event{
		ID: patchbay.EventID(s.o.Store.NewID(1)), Type: "integration_test", Scope: scope, Payload: json.RawMessage("{}"),
		OccurredAt: now, ReceivedAt: now, Source: patchbay.Source{Kind: patchbay.SourceTest, Link: l.ID},
	}
	out := s.o.Engine.Try(ctx, deliver.Call{Link: l, Event: event, Attempt: 1, Test: true})
	r := &TestResult{Status: "sent", ResponseCode: out.Code, DurationMS: out.Attempt.DurationMS, ResponseBody: out.Attempt.ResponseBody}
	if out.Verdict != patchbay.VerdictDelivered {
		r.Status, r.Error, r.Type = "failed", out.Error, out.Type
	}
	return r
}
