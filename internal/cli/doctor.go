package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/machine"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

const (
	// minFree is the disk space below which doctor warns: a busy day's events.
	minFree = 2 << 30
	// minFiles is how many open files an installation needs at full load: deliveries under way, connections that are
	// kept, callers.
	minFiles = 4096
	// maxSkew is how far clocks may be apart before receivers refuse signatures.
	maxSkew = 5 * time.Minute
	// doctorPatience bounds each check that asks somebody else.
	doctorPatience = 5 * time.Second
)

type doctorCmd struct {
	config.Config
	config.Client
	jsonFlag
}

// finding is what one check came to.
type finding struct {
	Check string `json:"check"`
	// Status is "ok", "warning" or "failed".
	Status string `json:"status"`
	// What says what was found, Do what to do about it.
	What string `json:"what"`
	Do   string `json:"do,omitempty"`
}

func fine(format string, args ...any) finding {
	return finding{Status: "ok", What: fmt.Sprintf(format, args...)}
}

func warning(do, format string, args ...any) finding {
	return finding{Status: "warning", What: fmt.Sprintf(format, args...), Do: do}
}

func bad(do, format string, args ...any) finding {
	return finding{Status: "failed", What: fmt.Sprintf(format, args...), Do: do}
}

// Run checks everything that can be checked from here.
func (c *doctorCmd) Run(p *program) error {
	settings := c.Config.WithDefaults()
	checks := []struct {
		name string
		run  func(*program, *config.Config) finding
	}{
		{"settings", checkSettings}, {"data", checkData}, {"disk", checkDisk}, {"database", checkDatabase}, {"keys", checkKeys}, {"catalog", checkCatalog},
		{"files", checkFiles}, {"egress", checkEgress}, {"mail", checkMail}, {"server", c.checkServer}, {"clock", c.checkClock},
	}
	findings := make([]finding, 0, len(checks))
	failed := false
	for _, check := range checks {
		f := check.run(p, &settings)
		f.Check = check.name
		failed = failed || f.Status == "failed"
		findings = append(findings, f)
		if !p.json {
			p.finding(f)
		}
	}
	if p.json {
		if err := p.out.JSON(findings); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func (p *program) finding(f finding) {
	look := map[string]console.Look{
		"ok": {Sign: "✓", Style: console.Green}, "warning": {Sign: "!", Style: console.Yellow}, "failed": {Sign: "✗", Style: console.Red},
	}[f.Status]
	p.out.Printf("%s %s\n", look.Paint(p.out, console.Pad(f.Check, 9)), console.Line(f.What))
	if f.Do != "" {
		p.out.Printf("            → %s\n", console.Line(f.Do))
	}
}

func checkSettings(p *program, c *config.Config) finding {
	if err := c.Validate(); err != nil {
		return bad("correct the setting", "%v", err)
	}
	known := map[string]bool{}
	for _, i := range p.build.Integrations {
		known[i.Definition().Key] = true
	}
	for key := range c.Integrations {
		if !known[key] {
			return bad("remove it, or correct its name", "integrations.%s: there is no such integration in this build", key)
		}
	}
	return fine("the settings make sense")
}

func checkData(_ *program, c *config.Config) finding {
	info, err := os.Stat(c.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(filepath.Clean(c.Data))
		if err := writable(parent); err != nil {
			return bad("say with --data where it may be made", "%s does not exist yet and cannot be made: %v", c.Data, err)
		}
		return fine("%s does not exist yet; the first start makes it", c.Data)
	case err != nil:
		return bad("check the permissions", "%s cannot be looked at: %v", c.Data, err)
	case !info.IsDir():
		return bad("say with --data where the directory is", "%s is no directory", c.Data)
	}
	if err := writable(c.Data); err != nil {
		return bad("give it to the user that Patchbay runs as", "%s cannot be written to: %v", c.Data, err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return warning("chmod o-rwx "+c.Data, "%s can be entered by everybody on this machine; the database in it holds secrets", c.Data)
	}
	return fine("%s can be written to", c.Data)
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".patchbay-doctor-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func checkDisk(_ *program, c *config.Config) finding {
	dir := c.Data
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(filepath.Clean(dir))
	}
	free, err := machine.Free(dir)
	switch {
	case err != nil:
		return warning("look at it yourself", "the free space of %s cannot be told: %v", dir, err)
	case free < minFree:
		return warning("make room, or bound the database with --max-bytes and --retention", "%s is free where %s lies", wholeUnit(free), dir)
	}
	return fine("%s is free", wholeUnit(free))
}

func wholeUnit(n int64) string {
	switch {
	case n >= 10<<30:
		return config.Bytes(n >> 30 << 30).String()
	case n >= 10<<20:
		return config.Bytes(n >> 20 << 20).String()
	}
	return config.Bytes(n >> 10 << 10).String()
}

// databaseFile is the embedded database in the data directory.
const databaseFile = "patchbay.db"

// checkDatabase changes nothing: of the embedded database it looks at the file only, because opening it would bring an
// older one to this version.
func checkDatabase(p *program, c *config.Config) finding {
	if c.PostgreSQL() {
		return checkPostgreSQL(p, c)
	}
	name := filepath.Join(c.Data, databaseFile)
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fine("there is no database yet; the first start makes it")
	case err != nil:
		return bad("give it to the user that Patchbay runs as", "%s cannot be read: %v", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return bad("check the disk", "%s cannot be looked at: %v", name, err)
	}
	magic := make([]byte, 16)
	if _, err := io.ReadFull(f, magic); err != nil || !bytes.Equal(magic, []byte("SQLite format 3\x00")) {
		return bad("put back a copy of the database, or say with --data where it is", "%s is no SQLite database", name)
	}
	return fine("%s is an SQLite database of %s", name, wholeUnit(info.Size()))
}

// nodeConnections is about how many connections a node uses at full load.
const nodeConnections = 12

func checkPostgreSQL(p *program, c *config.Config) finding {
	ctx, cancel := context.WithTimeout(p.ctx, doctorPatience)
	defer cancel()
	s, err := postgres.Inspect(ctx, c.Database.Reveal())
	if err != nil {
		return bad("check --database, the firewall and pg_hba.conf", "%s cannot be used: %v", c.DatabaseName(), err)
	}
	schema := fmt.Sprintf("schema number %d", s.Schema)
	switch {
	case s.Schema == 0:
		schema = "it is empty; the first start makes its tables"
	case len(s.Pending) > 0:
		schema += fmt.Sprintf(", which the next start or `patchbay migrate` brings to number %d", s.Known)
	}
	what := fmt.Sprintf("%s is PostgreSQL %s with %d nodes; %s", c.DatabaseName(), s.Version, s.Nodes, schema)
	switch {
	case s.ReadOnly:
		return bad("name the primary in --database, or all servers separated by commas", "%s takes no writes: it is a standby, or set so", c.DatabaseName())
	case len(s.Unsafe) > 0:
		return warning("turn them on: ALTER SYSTEM SET …; a power loss takes accepted events away otherwise", "%s; these settings are off: %s", what, strings.Join(s.Unsafe, ", "))
	case s.Connections < nodeConnections*(s.Nodes+1):
		return warning(fmt.Sprintf("raise max_connections: a node uses up to %d", nodeConnections), "%s; it takes %d connections", what, s.Connections)
	case s.Skew.Abs() > maxSkew:
		return warning("set both clocks; use NTP", "%s; its clock and this one are %s apart", what, console.Length(s.Skew.Abs()))
	}
	return fine("%s", what)
}

// checkKeys looks whether the key file opens what the database holds.
func checkKeys(p *program, c *config.Config) finding {
	file := c.SecretKeyFile()
	ring, err := secret.Read(file)
	if err != nil {
		return bad("correct it, or put a copy of it back; never make a new one for a database that has secrets", "%v", err)
	}
	var canary string
	if c.PostgreSQL() {
		ctx, cancel := context.WithTimeout(p.ctx, doctorPatience)
		defer cancel()
		canary, err = postgres.Fact(ctx, c.Database.Reveal(), sealing.MetaCanary)
	} else if _, missing := os.Stat(filepath.Join(c.Data, databaseFile)); missing == nil {
		canary, err = sqlite.Fact(c.Data, sealing.MetaCanary)
	}
	if err != nil {
		return warning("see what is said of the database", "whether %s is the right key file cannot be told: %v", file, err)
	}
	if err := sealing.Check(ring, ring, c.DatabaseName(), canary); err != nil {
		return bad("give the right key file with --key-file: without it nobody can read the database's secrets", "%v", err)
	}
	keys := len(ring.Keys())
	switch warnings := ring.Warnings(); {
	case len(warnings) > 0:
		return warning("chmod 600 "+file, "%s can be read or changed by others on this machine", file)
	case keys == 0:
		return fine("there is no key file yet; the first start makes %s", file)
	case canary == "":
		return fine("%s has %d keys; the database has no secrets yet", file, keys)
	case keys == 1:
		return fine("%s opens the database's secrets; keep a copy of it apart from the backups", file)
	}
	return fine("%s opens the database's secrets; it has %d keys, and \"patchbay secrets\" says which are needed", file, keys)
}

func checkFiles(*program, *config.Config) finding {
	limit, err := machine.OpenFiles()
	switch {
	case err != nil:
		return warning("", "the limit of open files cannot be told: %v", err)
	case limit < minFiles:
		return warning(fmt.Sprintf("raise it: ulimit -n %d, or LimitNOFILE= in a unit of systemd", 4*minFiles), "%d files may be open at a time; a busy installation needs %d", limit, minFiles)
	}
	return fine("%d files may be open at a time", limit)
}

// metadata is where clouds tell a machine its credentials.
var metadata = netip.MustParseAddr("169.254.169.254")

func checkEgress(_ *program, c *config.Config) finding {
	guard := outbound.Guard{AllowLoopback: c.Dev, Allow: c.EgressAllow}
	if guard.Check(metadata) == nil {
		return bad("narrow --egress-allow", "links may send to %s, where a cloud tells this machine's credentials", metadata)
	}
	allowed := make([]string, len(c.EgressAllow))
	for i, n := range c.EgressAllow {
		allowed[i] = n.String()
	}
	what := "links may send to the public internet"
	if len(allowed) > 0 {
		what += " and to " + strings.Join(allowed, ", ")
	}
	if c.EgressProxy != "" {
		what += ", through a proxy"
	}
	return fine("%s", what)
}

// checkMail greets the operator's mail server.
func checkMail(p *program, c *config.Config) finding {
	raw, err := c.Integrations.JSON("email")
	var server struct {
		Host string      `json:"host"`
		Port json.Number `json:"port"`
	}
	if err != nil || raw == nil || json.Unmarshal(raw, &server) != nil || server.Host == "" {
		return fine("no mail server is configured; a mail link then names its own")
	}
	if server.Port == "" {
		server.Port = "587"
	}
	address := net.JoinHostPort(server.Host, server.Port.String())
	ctx, cancel := context.WithTimeout(p.ctx, doctorPatience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return bad("check integrations.email.host and .port, and the firewall", "the mail server %s cannot be reached: %v", address, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(p.now().Add(doctorPatience))
	greeting, err := bufio.NewReader(io.LimitReader(conn, 512)).ReadString('\n')
	if err != nil || !strings.HasPrefix(greeting, "220") {
		return bad("check integrations.email.port: a server that speaks TLS at once usually listens on 465", "%s does not greet as a mail server does", address)
	}
	return fine("the mail server %s answers", address)
}

// api returns a client of the installation that the settings describe.
func (c *doctorCmd) api(settings *config.Config) (*client.Client, error) {
	server := c.Server
	if server == "" {
		_, port, err := net.SplitHostPort(settings.Listen)
		if err != nil {
			return nil, err
		}
		server = "http://127.0.0.1:" + port
	}
	key := c.Key
	if key == "" {
		key = localKey(server, settings.Data)
	}
	return client.New(client.Options{Server: server, Key: key, Timeout: doctorPatience})
}

func (c *doctorCmd) checkServer(p *program, settings *config.Config) finding {
	api, err := c.api(settings)
	if err != nil {
		return bad("correct --server", "%v", err)
	}
	defer api.Close()
	err = api.Ready(p.ctx)
	var unreachable *client.UnreachableError
	switch {
	case errors.As(err, &unreachable) && c.Server == "":
		return fine("no installation runs at %s", api.Server())
	case err != nil:
		return bad("look at its log", "%s is not ready: %v", api.Server(), err)
	}
	if _, err := api.Links(p.ctx, client.LinkFilter{Paging: client.Paging{Limit: 1}}); err != nil {
		if patchbay.CodeOf(err) == patchbay.CodeUnauthorized {
			return warning("give a key with --key or PATCHBAY_KEY", "%s takes events, but does not know who is asking", api.Server())
		}
		return bad("look at its log", "%s is ready, but does not list its links: %v", api.Server(), err)
	}
	return fine("%s takes events", api.Server())
}

// checkClock compares this machine's clock with the server's. Receivers refuse signatures that are too old or too new.
func (c *doctorCmd) checkClock(p *program, settings *config.Config) finding {
	now := p.now()
	if now.Year() < 2026 {
		return bad("set the clock; use NTP", "it is %s here, which cannot be", now.UTC().Format(time.RFC3339))
	}
	api, err := c.api(settings)
	if err != nil {
		return fine("it is %s", now.UTC().Format(time.RFC3339))
	}
	ctx, cancel := context.WithTimeout(p.ctx, doctorPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.Server()+"/healthz", nil)
	if err != nil {
		return fine("it is %s", now.UTC().Format(time.RFC3339))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fine("it is %s", now.UTC().Format(time.RFC3339))
	}
	_ = resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if skew := there.Sub(now).Abs(); err == nil && skew > maxSkew {
		return bad("set both clocks; use NTP", "the server's clock and this one are %s apart; receivers refuse such signatures", console.Length(skew))
	}
	return fine("it is %s, here and at %s", now.UTC().Format(time.RFC3339), api.Server())
}
