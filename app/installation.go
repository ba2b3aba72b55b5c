package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/machine"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/web"
)

// installation tells those who look after all of it how it is set up, and how it is.
type installation struct{ *App }

// The bounds below which something is worth a look; doctor has the same.
const (
	minFree  = 2 << 30
	minFiles = 4096
	// farPatience bounds what is asked of others.
	farPatience = 3 * time.Second
)

func allowedWhole(c *access.Caller) error {
	if err := c.Require(access.Admin); err != nil {
		return err
	}
	return c.Reach("")
}

// About implements web.Installation.
func (i installation) About(ctx context.Context, c *access.Caller) (*web.About, error) {
	if err := allowedWhole(c); err != nil {
		return nil, err
	}
	stats, err := i.store.Stats(ctx)
	if err != nil {
		return nil, patchbay.Internal("describing the database", err)
	}
	keep := i.config
	out := &web.About{
		Version: i.o.Version, Go: strings.TrimPrefix(runtime.Version(), "go"), Platform: runtime.GOOS + "/" + runtime.GOARCH, StartedAt: i.self.StartedAt,
		Database: keep.DatabaseName(), Engine: stats.Engine, Schema: stats.Schema, Bytes: stats.Bytes, MaxBytes: int64(keep.MaxBytes), Queued: stats.Queued,
		Kept: [][2]string{
			{"Events that matched a link", keep.Retention.Default.String()}, {"Events that matched nothing", keep.RetentionUnmatched.String()},
			{"Bodies of partners' answers", keep.RetentionBodies.String()},
		},
	}
	if out.Version == "" {
		out.Version = "dev"
	}
	for tenant, d := range keep.Retention.Tenants {
		out.Kept = append(out.Kept, [2]string{"Events of " + tenant, d.String()})
	}
	return out, nil
}

// Settings implements web.Installation.
func (i installation) Settings(c *access.Caller) ([]config.SettingGroup, error) {
	if err := allowedWhole(c); err != nil {
		return nil, err
	}
	return i.config.Settings(), nil
}

// Checks implements web.Installation.
func (i installation) Checks(ctx context.Context, c *access.Caller, far bool) ([]web.Check, error) {
	if err := allowedWhole(c); err != nil {
		return nil, err
	}
	near := []web.Check{
		i.checkWrites(ctx), i.checkDisk(), i.checkSealing(), checkFiles(), i.checkEgress(), i.checkAddress(), i.checkSettings(), i.checkCatalog(),
	}
	if !far {
		return near, nil
	}
	others := []func(context.Context) web.Check{i.checkMail, i.checkSignOn}
	found := make([]web.Check, len(others))
	ctx, cancel := context.WithTimeout(ctx, farPatience)
	defer cancel()
	var owned sync.WaitGroup
	for n, check := range others {
		owned.Go(func() { found[n] = check(ctx) })
	}
	owned.Wait()
	return slices.Concat(near, found), nil
}

func fine(name, format string, args ...any) web.Check {
	return web.Check{Name: name, Status: "ok", What: fmt.Sprintf(format, args...)}
}

func warning(name, do, format string, args ...any) web.Check {
	return web.Check{Name: name, Status: "warning", What: fmt.Sprintf(format, args...), Do: do}
}

func broken(name, do, format string, args ...any) web.Check {
	return web.Check{Name: name, Status: "failed", What: fmt.Sprintf(format, args...), Do: do}
}

func (i installation) checkWrites(ctx context.Context) web.Check {
	if err := i.store.Healthy(ctx); err != nil {
		return broken("Database", "Look at the log and at the database's own; what was accepted is kept.", "It takes no writes: %v.", err)
	}
	return fine("Database", "It takes writes.")
}

func (i installation) checkDisk() web.Check {
	free, err := machine.Free(i.config.Data)
	switch {
	case err != nil:
		return warning("Disk", "Look at it yourself.", "The free space of %s cannot be told: %v.", i.config.Data, err)
	case free < minFree && !i.config.PostgreSQL():
		return warning("Disk", "Make room, or bound the database with max-bytes and retention.", "%s is free where %s lies.", config.Bytes(free>>20<<20), i.config.Data)
	}
	return fine("Disk", "%s is free where %s lies.", config.Bytes(free>>30<<30), i.config.Data)
}

func (i installation) checkSealing() web.Check {
	if i.ring == nil {
		return fine("Secrets", "They are sealed with the key %s, which this program was given.", i.wrapper.Current())
	}
	if w := i.ring.Warnings(); len(w) > 0 {
		return warning("Secrets", "chmod 600 "+i.ring.Path(), "The key file can be read or changed by others on this machine.")
	}
	return fine("Secrets", "They are sealed with the key %s of %s.", i.wrapper.Current(), i.ring.Path())
}

func checkFiles() web.Check {
	limit, err := machine.OpenFiles()
	switch {
	case err != nil:
		return fine("Open files", "Their limit cannot be told on this system.")
	case limit < minFiles:
		return warning("Open files", fmt.Sprintf("Raise it: ulimit -n %d, or LimitNOFILE= in a unit of systemd.", 4*minFiles), "%d files may be open at a time; a busy installation needs %d.", limit, minFiles)
	}
	return fine("Open files", "%d may be open at a time.", limit)
}

// metadata is where clouds tell a machine its credentials.
var metadata = netip.MustParseAddr("169.254.169.254")

func (i installation) checkEgress() web.Check {
	guard := outbound.Guard{AllowLoopback: i.config.Dev, Allow: i.config.EgressAllow}
	if guard.Check(metadata) == nil {
		return broken("What goes out", "Narrow egress-allow.", "Links may send to %s, where a cloud tells this machine's credentials.", metadata)
	}
	what := "Links may send to the public internet"
	if len(i.config.EgressAllow) > 0 {
		allowed := make([]string, len(i.config.EgressAllow))
		for n, network := range i.config.EgressAllow {
			allowed[n] = network.String()
		}
		what += ", and to " + strings.Join(allowed, ", ")
	}
	if i.config.EgressProxy != "" {
		what += ", through a proxy"
	}
	return fine("What goes out", "%s.", what)
}

func (i installation) checkAddress() web.Check {
	switch at := i.publicURL(); {
	case i.config.Dev:
		return warning("Address", "Start it without dev where others can reach it.", "It runs in development mode: everybody on this machine may do everything.")
	case at == "":
		return warning("Address", "Set public-url.", "Nobody has said where it is reached, so partners cannot call it, and accounts cannot be connected.")
	case strings.HasPrefix(at, "http://"):
		return warning("Address", "Put a proxy with TLS in front, and set public-url to its https address.", "It is reached at %s, where others can read along.", at)
	default:
		return fine("Address", "It is reached at %s.", at)
	}
}

func (i installation) checkSettings() web.Check {
	if w := i.config.Warnings(); len(w) > 0 {
		return warning("Configuration", "", "%s.", strings.Join(w, "; "))
	}
	return fine("Configuration", "The settings make sense.")
}

func (i installation) checkCatalog() web.Check {
	if w := i.catalog.Warnings(); len(w) > 0 {
		return warning("Event types", "Put the type anew, or delete it.", "%s.", strings.TrimSuffix(strings.Join(w, "; "), "."))
	}
	return fine("Event types", "There are %d, and each of them makes sense.", len(i.catalog.Types()))
}

// checkMail greets the operator's mail server.
func (i installation) checkMail(ctx context.Context) web.Check {
	const name = "Mail server"
	raw, err := i.config.Integrations.JSON("email")
	var server struct {
		Host string      `json:"host"`
		Port json.Number `json:"port"`
	}
	if err != nil || raw == nil || json.Unmarshal(raw, &server) != nil || server.Host == "" {
		return fine(name, "None is configured; a mail link then names its own.")
	}
	if server.Port == "" {
		server.Port = "587"
	}
	address := net.JoinHostPort(server.Host, server.Port.String())
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return broken(name, "Check integrations.email.host and .port, and the firewall.", "%s cannot be reached.", address)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	greeting, err := bufio.NewReader(io.LimitReader(conn, 512)).ReadString('\n')
	if err != nil || !strings.HasPrefix(greeting, "220") {
		return broken(name, "Check integrations.email.port: a server that speaks TLS at once usually listens on 465.", "%s does not greet as a mail server does.", address)
	}
	return fine(name, "%s answers.", address)
}

// checkSignOn asks the OpenID provider how it is reached.
func (i installation) checkSignOn(ctx context.Context) web.Check {
	const name = "Sign-in"
	if i.signOn == nil {
		return fine(name, "Operators sign in with keys.")
	}
	if _, err := i.signOn.Begin(ctx, "", false); err != nil {
		var e *patchbay.Error
		what := err.Error()
		if errors.As(err, &e) {
			what = e.Message
		}
		return broken(name, "Check oidc-issuer and the firewall; keys work all the same.", "%s.", strings.ToUpper(what[:1])+what[1:])
	}
	return fine(name, "%s answers.", i.config.OIDCIssuer)
}
