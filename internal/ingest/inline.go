package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/rawjson"
	"github.com/patchbay/patchbay/internal/store"
)

// entry is one integration of an inline call.
type entry struct {
	key string
	// link is nil when the integration does not take the type.
	link *deliver.Link
}

// inlineAnswer is the answer to an inline call.
type inlineAnswer struct {
	Status       string           `json:"status,omitempty"`
	Error        string           `json:"error,omitempty"`
	Type         patchbay.Code    `json:"type,omitempty"`
	ResponseCode int              `json:"failed_response_code,omitempty"`
	ResponseBody *string          `json:"failed_response_body,omitempty"`
	ID           patchbay.EventID `json:"id,omitzero"`
	Results      []Result         `json:"results"`
}

// acceptInline tries every listed integration once, all at the same time, and answers when all are done. Links are not
// consulted, and nothing of the settings is kept.
func (s *Service) acceptInline(ctx context.Context, c *access.Caller, in *call, event *patchbay.Event, t *catalog.Type, idem *store.Idempotency) (*Answer, error) {
	event.Source.Kind = patchbay.SourceInline
	if err := s.refuses(event.Scope); err != nil {
		return nil, err
	}
	entries, err := s.entries(in.integrations, t)
	if err != nil {
		return nil, err
	}
	consumer, err := parseConsumer(in.consumer)
	if err != nil {
		return nil, err
	}
	if idem != nil {
		release, err := s.enter(ctx, idem.Key)
		if err != nil {
			return nil, err
		}
		defer release()
		existing, err := s.o.Store.Remembered(ctx, idem.Key, event.ReceivedAt)
		if err != nil {
			return nil, patchbay.Internal("looking up an idempotency key", err)
		}
		if existing != nil {
			return s.replayInline(ctx, c, existing, idem, event)
		}
	}
	event.ID = patchbay.EventID(s.newID(len(entries) + 1))
	outcomes := s.tryAll(ctx, entries, event, consumer)
	return s.keepInline(ctx, event, entries, outcomes, idem), nil
}

// entries checks the list of an inline call whole, before anything is sent.
func (s *Service) entries(raw []byte, t *catalog.Type) ([]entry, error) {
	entries := []entry{}
	supports := s.supported(t)
	for element := range rawjson.Array(raw) {
		path := fmt.Sprintf("integrations[%d]", len(entries))
		if len(entries) == inlineMost {
			return nil, patchbay.Invalid("integrations", "has more than %d entries", inlineMost)
		}
		if rawjson.KindOf(element) != rawjson.KindObject {
			return nil, patchbay.Invalid(path, `must be an object such as {"key": "slack", "settings": {}}`)
		}
		keyRaw, _ := rawjson.Get(element, "key")
		key, ok := rawjson.String(keyRaw)
		if !ok || key == "" {
			return nil, patchbay.Invalid(path+".key", "is required: the key of one of GET /integrations")
		}
		settings, _ := rawjson.Get(element, "settings")
		object, err := settingsObject(settings)
		if err != nil {
			return nil, patchbay.Invalid(path+".settings", "%v", err)
		}
		link, err := s.o.Links.Adhoc(key, object, integration.CheckOptions{IgnoreUnknown: true})
		if err != nil {
			return nil, inEntry(path, err)
		}
		if !supports(key) {
			link = nil
		}
		entries = append(entries, entry{key: key, link: link})
	}
	return entries, nil
}

// inEntry puts an error's details below an entry of the list.
func inEntry(path string, err error) error {
	var e *patchbay.Error
	if !errors.As(err, &e) {
		return err
	}
	moved := *e
	moved.Details = make([]patchbay.Detail, len(e.Details))
	for i, d := range e.Details {
		moved.Details[i] = patchbay.Detail{Path: path + "." + d.Path, Message: d.Message}
	}
	return &moved
}

// settingsObject reads settings as an object, or as the list of keys and values that Rainforest's callers send.
func settingsObject(raw []byte) (json.RawMessage, error) {
	switch rawjson.KindOf(raw) {
	case rawjson.KindObject:
		return raw, nil
	case rawjson.KindArray:
	default:
		if len(raw) == 0 || rawjson.KindOf(raw) == rawjson.KindNull {
			return json.RawMessage("{}"), nil
		}
		return nil, fmt.Errorf(`must be an object, or a list such as [{"key": "url", "value": "…"}]`)
	}
	out := map[string]json.RawMessage{}
	for element := range rawjson.Array(raw) {
		keyRaw, _ := rawjson.Get(element, "key")
		key, ok := rawjson.String(keyRaw)
		if !ok {
			return nil, fmt.Errorf(`must be a list such as [{"key": "url", "value": "…"}]`)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("names %q twice", clip(key))
		}
		value, found := rawjson.Get(element, "value")
		if !found {
			value = []byte("null")
		}
		out[key] = value
	}
	return json.Marshal(out)
}

// parseConsumer reads the OAuth 1.0a consumer of a call. Nothing of it is kept.
func parseConsumer(raw []byte) (*integration.OAuthConsumer, error) {
	if len(raw) == 0 || rawjson.KindOf(raw) == rawjson.KindNull {
		return nil, nil
	}
	keyRaw, _ := rawjson.Get(raw, "key")
	key, _ := rawjson.String(keyRaw)
	consumer := &integration.OAuthConsumer{Key: key, Secrets: map[string]patchbay.Secret{}}
	secrets, _ := rawjson.Get(raw, "secrets")
	for method, value := range rawjson.Object(secrets) {
		text, ok := rawjson.String(value)
		if !ok {
			return nil, patchbay.Invalid("oauth_consumer.secrets."+clip(string(method)), "must be text")
		}
		consumer.Secrets[string(method)] = patchbay.Secret(text)
	}
	return consumer, nil
}

// enter waits until no other inline call with the key is under way on this node.
func (s *Service) enter(ctx context.Context, key [16]byte) (release func(), err error) {
	for {
		s.mu.Lock()
		busy, ok := s.inline[key]
		if !ok {
			done := make(chan struct{})
			s.inline[key] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.inline, key)
				s.mu.Unlock()
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "an earlier call with the same key is still under way", Err: ctx.Err()}
		}
	}
}

// tryAll tries every entry once, at the same time.
func (s *Service) tryAll(ctx context.Context, entries []entry, event *patchbay.Event, consumer *integration.OAuthConsumer) []*deliver.Outcome {
	outcomes := make([]*deliver.Outcome, len(entries))
	var wg sync.WaitGroup
	for i := range entries {
		if entries[i].link == nil {
			continue
		}
		wg.Go(func() {
			s.atOnce <- struct{}{}
			defer func() { <-s.atOnce }()
			out := s.o.Engine.Try(ctx, deliver.Call{
				Link: entries[i].link, Event: event, Delivery: patchbay.DeliveryAt(event.ID, i+1), Attempt: 1, Consumer: consumer,
			})
			outcomes[i] = &out
		})
	}
	wg.Wait()
	return outcomes
}

// keepInline stores the event with its results and makes the answer. What has been sent cannot be taken back, so a
// store that fails changes nothing about the answer.
func (s *Service) keepInline(ctx context.Context, event *patchbay.Event, entries []entry, outcomes []*deliver.Outcome, idem *store.Idempotency) *Answer {
	a := store.Acceptance{Event: event}
	answer := inlineAnswer{Status: "ok", ID: event.ID, Results: []Result{}}
	for i, en := range entries {
		id := patchbay.DeliveryAt(event.ID, i+1)
		a.Targets = append(a.Targets, store.Target{Integration: en.key})
		o := store.Outcome{Delivery: id, Event: event.ID, State: patchbay.DeliverySkipped,
			Attempt: patchbay.Attempt{At: event.ReceivedAt, Error: "the integration does not support this event type"}}
		r := Result{Key: en.key, Status: "skipped", Delivery: id}
		if out := outcomes[i]; out != nil {
			o.N, o.Attempt, o.State, r.Status = 1, out.Attempt, patchbay.DeliverySucceeded, "sent"
			if out.Verdict != patchbay.VerdictDelivered {
				o.State, r.Status, r.Error, r.Type = patchbay.DeliveryFailed, "failed", out.Error, out.Type
				r.ResponseCode, r.ResponseBody = out.Code, string(out.Result.Body)
				if answer.Error == "" {
					answer.fail(&r)
				}
			}
		}
		a.Outcomes = append(a.Outcomes, o)
		answer.Results = append(answer.Results, r)
	}
	status := 201
	if answer.Error != "" {
		status = 400
	} else {
		a.Idempotency = idem // only what answered 201 is remembered
	}
	err := s.refuses(event.Scope) // its tenant may be being erased since
	if err == nil {
		_, err = s.o.Store.Accept(context.WithoutCancel(ctx), &a)
	}
	if err != nil {
		s.o.Log.Error("the results of an inline call could not be kept", "event", event.ID, "error", err)
	} else if s.o.Observer != nil {
		s.o.Observer.Accepted(event, len(entries))
	}
	body, err := json.Marshal(answer)
	if err != nil {
		s.o.Log.Error("an answer could not be written", "error", err)
	}
	return &Answer{Status: status, Body: append(body, '\n')}
}

// fail makes the answer that of the first failure.
func (a *inlineAnswer) fail(r *Result) {
	a.Status, a.Error, a.Type = "", r.Error, r.Type
	if r.ResponseCode != 0 {
		body := r.ResponseBody
		a.ResponseCode, a.ResponseBody = r.ResponseCode, &body
	}
}

// replayInline answers a remembered inline call as it was answered then: everything sent or skipped.
func (s *Service) replayInline(ctx context.Context, c *access.Caller, existing *store.Existing, idem *store.Idempotency, event *patchbay.Event) (*Answer, error) {
	if existing.Body != idem.Body {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the key was used in the last 24 hours for another call: repeat the very same body, or send a new key")
	}
	views, err := s.o.Deliveries.OfEvent(ctx, c, existing.Event)
	if err != nil {
		return nil, patchbay.Internal("reading the results of a call", err)
	}
	answer := inlineAnswer{Status: "ok", ID: existing.Event, Results: []Result{}}
	for _, v := range views {
		r := Result{Key: v.Integration, Status: "sent", Delivery: v.ID}
		if v.State == patchbay.DeliverySkipped {
			r.Status = "skipped"
		}
		answer.Results = append(answer.Results, r)
	}
	s.deduplicated(event)
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, patchbay.Internal("writing an answer", err)
	}
	return &Answer{Status: 201, Body: append(body, '\n'), Replayed: true}, nil
}
