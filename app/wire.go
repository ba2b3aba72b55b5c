package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/stream"
)

// rendering is the catalog as the engine sees it.
type rendering struct{ catalog *catalog.Catalog }

func target(d *integration.Definition) catalog.Target {
	return catalog.Target{Key: d.Key, Category: d.Category, Title: d.Title}
}

// Title returns the title of the event's type.
func (r rendering) Title(e *patchbay.Event) string {
	if t := r.catalog.Type(e.Type); t != nil {
		return t.Spec().Title
	}
	return e.Type
}

// Example returns an event type's key and example.
func (r rendering) Example(name string) (string, json.RawMessage, bool) {
	t := r.catalog.Type(name)
	if t == nil {
		return "", nil, false
	}
	return t.Key(), t.Spec().Example, true
}

// Render makes the event's message. An event whose type has left the catalog still reads as its type.
func (r rendering) Render(e *patchbay.Event, d *integration.Definition) (*integration.Message, error) {
	if t := r.catalog.Type(e.Type); t != nil {
		return t.Render(e, target(d))
	}
	return &integration.Message{Title: e.Type, Severity: patchbay.SeverityInfo}, nil
}

// Thread returns the thread that the event's message belongs to.
func (r rendering) Thread(e *patchbay.Event, d *integration.Definition) string {
	t := r.catalog.Type(e.Type)
	if t == nil {
		return ""
	}
	thread, err := t.Thread(e, target(d))
	if err != nil {
		return "" // the message itself will say what is wrong with its templates
	}
	return thread
}

// observer tells metrics and live views what happens.
type observer struct {
	hub     *stream.Hub
	metrics *obs.Metrics
	stats   *stats.Service
	owner   func(patchbay.LinkID) (patchbay.Scope, bool) // the scope of a link
	now     func() time.Time
}

// seen is an accepted event as live views show it.
type seen struct {
	patchbay.Event
	Deliveries int `json:"deliveries"`
}

// Accepted is for ingest.
func (o *observer) Accepted(e *patchbay.Event, deliveries int) {
	o.metrics.EventAccepted()
	o.stats.Accepted(e)
	if o.hub.Active() {
		o.hub.Publish(stream.Item{
			Kind: stream.KindEvent, Type: e.Type, Scope: e.Scope, Also: e.Also, Event: e.ID, Data: seen{*e, deliveries},
		})
	}
}

// Deduplicated is for ingest.
func (o *observer) Deduplicated(*patchbay.Event) { o.metrics.EventDeduplicated() }

// Attempted is for the engine.
func (o *observer) Attempted(d *patchbay.Delivery, e *patchbay.Event, a *patchbay.Attempt) {
	o.metrics.Attempted(d.Integration, a.Verdict, time.Duration(a.DurationMS)*time.Millisecond)
	took := time.Duration(0)
	if d.State == patchbay.DeliverySucceeded {
		took = o.now().Sub(e.ReceivedAt)
		o.metrics.DeliveryTook(took)
	}
	o.stats.Attempted(d, e, took)
	if o.hub.Active() {
		v := view(d)
		v.Attempts = []deliver.AttemptView{deliver.ViewAttempt(a)}
		o.publish(stream.KindAttempt, d, e, string(a.Verdict), v)
	}
}

// Decided is for the engine.
func (o *observer) Decided(d *patchbay.Delivery, e *patchbay.Event) {
	o.metrics.DeliveryReached(d.State)
	o.stats.Decided(d, e)
	if o.hub.Active() {
		o.publish(stream.KindDelivery, d, e, string(d.State), view(d))
	}
}

func (o *observer) publish(kind string, d *patchbay.Delivery, e *patchbay.Event, state string, v deliver.View) {
	owner, _ := o.owner(d.Link) // of a link that was just deleted only those are told who see the whole installation
	o.hub.Publish(stream.Item{
		Kind: kind, Type: e.Type, Scope: e.Scope, Also: e.Also, Event: d.Event, Link: d.Link, Integration: d.Integration,
		Owner: owner, State: state, Data: v,
	})
}

func view(d *patchbay.Delivery) deliver.View {
	v := deliver.View{
		ID: d.ID, Event: d.Event, EventType: d.EventType, Scope: d.Scope, Integration: d.Integration,
		State: d.State, AttemptCount: d.AttemptCount, NextAttemptAt: d.NextAttemptAt,
	}
	if d.Link != 0 {
		link := d.Link
		v.Link = &link
	}
	return v
}

// The rhythm of housekeeping.
const (
	pruneEvery = time.Minute
	// pruneStep is the pause between two small steps: deleting must not stall traffic.
	pruneStep = 50 * time.Millisecond
	// pruneAudit is how many entries of the audit log one step deletes.
	pruneAudit = 500
)

// prune deletes what is no longer kept, in small steps.
func (a *App) prune(ctx context.Context) {
	retention := store.Retention{
		Matched: time.Duration(a.config.Retention.Default), Unmatched: time.Duration(a.config.RetentionUnmatched),
		Bodies: time.Duration(a.config.RetentionBodies), MaxBytes: int64(a.config.MaxBytes), Tenants: map[string]time.Duration{},
	}
	for tenant, keep := range a.config.Retention.Tenants {
		retention.Tenants[tenant] = time.Duration(keep)
	}
	timer := time.NewTimer(pruneEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		more, err := a.store.Prune(ctx, retention, a.now())
		if err != nil && ctx.Err() == nil {
			a.log.Warn("old events could not be deleted; trying again in a minute", "error", err)
		}
		if keep := time.Duration(*a.config.AuditRetention); keep > 0 {
			further, err := a.store.PruneAudit(ctx, a.now().Add(-keep), pruneAudit)
			if err != nil && ctx.Err() == nil {
				a.log.Warn("old entries of the audit log could not be deleted; trying again in a minute", "error", err)
			}
			more = more || further && err == nil
		}
		if more && err == nil {
			timer.Reset(pruneStep)
		} else {
			timer.Reset(pruneEvery)
		}
	}
}
