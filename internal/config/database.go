package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// database is what the URL of a PostgreSQL database says, without its secrets.
type database struct {
	hosts []string
	name  string
}

// PostgreSQL reports whether the installation uses PostgreSQL rather than its embedded SQLite database.
func (c *Config) PostgreSQL() bool {
	scheme, _, found := strings.Cut(c.Database.Reveal(), "://")
	return found && (scheme == "postgres" || scheme == "postgresql")
}

// DatabaseName describes the database for people and logs: hosts and name, never who signs in with what.
func (c *Config) DatabaseName() string {
	if !c.PostgreSQL() {
		return "SQLite in " + c.Data
	}
	d, err := parseDatabase(c.Database.Reveal())
	if err != nil {
		return "PostgreSQL"
	}
	name := "PostgreSQL"
	if d.name != "" {
		name += " " + d.name
	}
	if len(d.hosts) > 0 {
		name += " at " + strings.Join(d.hosts, ", ")
	}
	return name
}

func (c *Config) checkDatabase() error {
	if c.Database == "" {
		return nil
	}
	if !c.PostgreSQL() {
		return wrong("database", "the value is not the URL of a PostgreSQL database: write postgres://USER:PASSWORD@HOST:5432/NAME, or leave the setting out to use the embedded SQLite database in the data directory")
	}
	_, err := parseDatabase(c.Database.Reveal())
	return err
}

// parseDatabase reads postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?PARAMETER=VALUE. The driver reads it again, with
// all its parameters; here mistakes get a sentence that does not show the password. url.Parse knows one host only, and
// its errors show the whole text.
func parseDatabase(text string) (*database, error) {
	_, rest, _ := strings.Cut(text, "://")
	if strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, wrong("database", "there is a space or a control character in the URL: write it as %%20, or as %%XX with its code")
	}
	rest, query, _ := strings.Cut(rest, "?")
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return nil, wrong("database", "what follows the ? cannot be read: write PARAMETER=VALUE, separated by &")
	}
	authority, name, _ := strings.Cut(rest, "/")
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at], authority[at+1:]
	}
	if strings.ContainsAny(user, "@#") || strings.Contains(name, "@") {
		return nil, wrong("database", "user and password have characters that mean something in a URL: write @ as %%40, / as %%2F, : as %%3A, ? as %%3F and # as %%23")
	}
	if _, err := url.PathUnescape(user); err != nil {
		return nil, wrong("database", "user and password have a %% that does not begin a code such as %%40: write it as %%25")
	}
	d := &database{}
	if d.name, err = url.PathUnescape(name); err != nil || strings.Contains(d.name, "/") {
		return nil, wrong("database", "what follows the host is not the name of a database: write /NAME")
	}
	if h := parameters.Get("host"); h != "" && authority == "" {
		authority = h // a socket's directory, or hosts
	}
	for host := range strings.SplitSeq(authority, ",") {
		if host == "" {
			continue
		}
		if err := checkHost(host); err != nil {
			return nil, err
		}
		d.hosts = append(d.hosts, host)
	}
	return d, nil
}

// checkHost checks one HOST, HOST:PORT, [ADDRESS]:PORT or a directory of a socket.
func checkHost(host string) error {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "%2F") {
		return nil
	}
	if !strings.Contains(strings.TrimPrefix(host, "["), ":") || strings.HasSuffix(host, "]") {
		return nil
	}
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return wrong("database", "one of the hosts cannot be read: write HOST:PORT, several separated by commas, and an IPv6 address in brackets")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return wrong("database", "one of the hosts has a port that is not a number from 1 to 65535; when the password has a colon, a slash or an @, write them as %%3A, %%2F and %%40")
	}
	return nil
}
