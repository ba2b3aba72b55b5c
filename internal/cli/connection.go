package cli

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
)

// jsonFlag is for commands that can also be read by programs.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

// AfterApply tells the program.
func (f *jsonFlag) AfterApply(p *program) error {
	p.json = f.JSON
	return nil
}

// connection is the flags of commands that talk to a running installation.
type connection struct {
	config.Client
	Data string `name:"data" env:"PATCHBAY_DATA" hidden:"" help:"Data directory, in which the admin key is."`
	jsonFlag
}

// AfterApply makes the flags known to the command that runs.
func (c *connection) AfterApply(k *kong.Context, p *program) error {
	k.Bind(c)
	return c.jsonFlag.AfterApply(p)
}

// dial returns a client. With --json every answer is printed as it came.
func (c *connection) dial(p *program) (*client.Client, error) {
	server := c.Server
	if server == "" {
		server = client.DefaultServer
	}
	key := c.Key
	if key == "" {
		key = localKey(server, config.Config{Data: c.Data}.WithDefaults().Data)
	}
	o := client.Options{Server: server, Key: key, UserAgent: "patchbay/" + p.build.Version}
	if p.json {
		o.OnAnswer = func(body []byte) { p.printRaw(body) }
	}
	api, err := client.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return api, nil
}

// localKey reads the admin key that the first start wrote, when the server is on this machine: the key of one
// installation is never sent to another machine.
func localKey(server, data string) patchbay.Secret {
	u, err := url.Parse(server)
	if err != nil || !config.Loopback(u.Hostname()) {
		return ""
	}
	token, err := os.ReadFile(config.AdminKeyFile(data))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "" // somebody else's installation: its owner has the key
	}
	return patchbay.Secret(strings.TrimSpace(string(token)))
}
