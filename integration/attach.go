package integration

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
)

// Linker sets up at the partner what a link needs, mostly a hook that calls the link's address, and takes it down.
//
// Attach may be called again for what is set up already: after a crash in the middle (it looks for what carries
// Attachment.HookURL before it makes another one), when it must be renewed, and when the link's settings have changed.
// Detach must succeed for what is gone already. Neither loops nor sleeps; what may work later is tried again.
type Linker interface {
	Integration
	// Attaches reports whether a link with these settings needs anything at the partner.
	Attaches(settings any) bool
	Attach(ctx context.Context, a *Attachment) (*Attached, Result)
	Detach(ctx context.Context, a *Attachment) Result
}

// Attachment is what a Linker needs to know.
type Attachment struct {
	Link       patchbay.LinkID
	Scope      patchbay.Scope
	Settings   any
	Connection *Connected
	// HookURL is the address that the partner is to call; "" when the installation does not know its public address.
	HookURL string
	// HookSecret is for the partner to sign with.
	HookSecret Secret
	// State is what the last Attach returned; nil at first.
	State json.RawMessage
	Env   *Env
}

// Attached is what was set up.
type Attached struct {
	// State is kept with the link, sealed, for renewing and taking down.
	State json.RawMessage
	// RenewAt is when Attach must be called again; zero when it does not end.
	RenewAt time.Time
	// Secret replaces the link's hook secret when the partner makes its own.
	Secret Secret
}
