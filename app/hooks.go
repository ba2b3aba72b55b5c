package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/inbound"
	"github.com/patchbay/patchbay/internal/links"
)

// receiving is the links as hooks see them.
type receiving struct {
	links *links.Service
	now   func() time.Time
}

// HookLink finds the link whose own address ends with a token.
func (r receiving) HookLink(key, token string) (*inbound.Target, bool) {
	return r.target(r.links.HookLink(key, token))
}

// HookTarget finds a link again.
func (r receiving) HookTarget(id patchbay.LinkID) (*inbound.Target, bool) {
	return r.target(r.links.HookTarget(id))
}

// Receiving returns the links that hear of a connection's account.
func (r receiving) Receiving(key string, con patchbay.ConnectionID) []*inbound.Target {
	found := r.links.Receiving(key, con)
	out := make([]*inbound.Target, len(found))
	for i, t := range found {
		out[i], _ = r.target(t, true)
	}
	return out
}

// Learn keeps a secret that a partner told us while the link is being attached.
func (r receiving) Learn(ctx context.Context, id patchbay.LinkID, secret patchbay.Secret) error {
	return r.links.Learn(ctx, id, secret)
}

func (r receiving) target(t *links.HookTarget, ok bool) (*inbound.Target, bool) {
	if !ok {
		return nil, false
	}
	return &inbound.Target{Link: t.Link, Settings: t.Settings, Secrets: t.Secrets(r.now()), Attaching: t.Attaching, Target: t.Target}, true
}

// openHooks makes the way in for partners.
func (a *App) openHooks(configs map[string]json.RawMessage) {
	remember := max(time.Duration(a.config.Retention.Default), time.Duration(a.config.RetentionUnmatched))
	for _, keep := range a.config.Retention.Tenants {
		remember = max(remember, time.Duration(keep))
	}
	a.hooks = inbound.New(inbound.Options{
		Store: a.store, NewID: a.store.NewID, Links: receiving{a.links, a.o.Now}, Connections: a.connections, Events: a.ingest,
		Integrations: a.integrations, Configs: configs, Observer: a.metrics, Log: a.log, Now: a.o.Now, Node: a.self.Number,
		PublicURL: a.publicURL(), Remember: remember,
	})
}

// readHooks begins to read what partners send. It ends after the HTTP server and before deliveries.
func (a *App) readHooks(ctx context.Context) error {
	a.down.Push("what partners sent", a.hooks.Stop)
	return a.hooks.Start(ctx)
}

// inboundTypes are those that integrations bring in.
func (a *App) inboundTypes() []patchbay.EventType {
	var types []patchbay.EventType
	for _, i := range a.o.Integrations {
		types = append(types, i.Definition().Types...)
	}
	return types
}
