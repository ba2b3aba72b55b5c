package links

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

// outside calls a partner for a link: with its connection, whose credentials are renewed once when the partner does not
// take them, through the guarded client, and so that neither a panic nor a secret comes back. secrets are those of the
// link's settings.
func (s *Service) outside(ctx context.Context, l *patchbay.Link, secrets []string,
	call func(*integration.Connected, *integration.Env) integration.Result) integration.Result {
	for tries := 1; ; tries++ {
		con, res := s.use(ctx, l)
		if con == nil && l.Connection != 0 {
			return res
		}
		res = s.once(l, con, secrets, call)
		if res.Verdict != patchbay.VerdictAuthExpired || con == nil {
			return res
		}
		s.o.Connections.Refused(ctx, con)
		if tries == 2 {
			return res
		}
	}
}

// use returns a link's connection; nil with the reason when it has one that cannot be used, or none.
func (s *Service) use(ctx context.Context, l *patchbay.Link) (*integration.Connected, integration.Result) {
	switch {
	case l.Connection == 0:
		return nil, integration.Delivered()
	case s.o.Connections == nil:
		return nil, integration.Expired("the link's connection does not exist any more")
	}
	con, err := s.o.Connections.Use(ctx, l.Connection, l.Scope)
	if err == nil {
		return con, integration.Delivered()
	}
	var e *patchbay.Error
	switch {
	case !errors.As(err, &e):
		return nil, integration.Retry("the link's connection could not be used; trying again")
	case e.Code == patchbay.CodeUserConfigurationError || e.Code == patchbay.CodeNotFound:
		return nil, integration.Expired("%s", e.Message)
	}
	return nil, integration.Retry("%s", e.Message)
}

func (s *Service) once(l *patchbay.Link, con *integration.Connected, secrets []string,
	call func(*integration.Connected, *integration.Env) integration.Result) (res integration.Result) {
	if con != nil {
		secrets = append(slices.Clone(secrets), con.Credentials.Secrets()...)
	}
	if l.Hook != nil {
		secrets = append(slices.Clone(secrets), l.Hook.Token.Reveal(), l.Hook.Secret.Reveal(), l.Hook.Previous.Reveal())
	}
	redact := outbound.NewRedactor(secrets)
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("an integration panicked", "integration", l.Integration, "link", l.ID, "panic", redact.Redact(fmt.Sprint(p)), "stack", string(debug.Stack()))
			res = integration.Retry("the integration %s failed in an unexpected way; its log says how", l.Integration)
		}
	}()
	wire := s.o.Client.AttemptWith(redact)
	res = call(con, &integration.Env{
		HTTP: wire, Dial: s.o.Client.Dial, Record: wire.Record, Config: s.o.Configs[l.Integration], Log: s.o.Log, Now: s.now,
		PublicURL: s.o.PublicURL,
	})
	if res.Verdict == "" {
		res = integration.Retry("the integration %s returned no verdict", l.Integration)
	}
	res.Error = wire.Redact(res.Error)
	return res
}

// refusal is what a caller is told of what a partner answered.
func refusal(r integration.Result) error {
	e := &patchbay.Error{Code: r.Type, Message: r.Error}
	if e.Code == "" {
		e.Code = patchbay.CodeServiceError
	}
	if e.Message == "" {
		e.Message = "the partner refused, and the integration did not say why"
	}
	return e
}
