// Package deploy_test checks what is meant to be copied from here: that it names what exists, and that it works.
package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/cli"
	"github.com/patchbay/patchbay/internal/config"
)

// scrape runs an installation, has it do something of everything, and returns the names of its metrics.
func scrape(t *testing.T) map[string]bool {
	t.Helper()
	a, err := app.New(app.Options{Config: config.Config{Dev: true, Data: t.TempDir(), Listen: "127.0.0.1:0"}, Integrations: all.Integrations(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	call := func(method, path, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	call("POST", "/v1/links", `{"integration": "inbox", "scope": "acme", "events": ["*"], "settings": {}}`)
	call("POST", "/v1/events", `{"event": "integration_test", "scope": "acme"}`)
	call("POST", "/v1/events", `{"event": "there.is.none"}`)
	var receives struct {
		URL string `json:"hook_url"`
	}
	if err := json.Unmarshal([]byte(call("POST", "/v1/links", `{"integration": "incoming", "scope": "acme", "events": [], "settings": {}}`)), &receives); err != nil {
		t.Fatal(err)
	}
	_, hook, _ := strings.Cut(receives.URL, a.Addr())
	call("POST", hook, `{"shipped": 7}`)
	call("POST", "/integrations/incoming/hook/nobody", `{}`)
	names := map[string]bool{}
	for end := time.Now().Add(90 * time.Second); !names["patchbay_deliveries_total"] || !names["patchbay_hooks_read_total"]; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing was delivered: %v", names)
		}
		for line := range strings.Lines(call("GET", "/metrics", "")) {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
				name, kind, _ := strings.Cut(strings.TrimSpace(name), " ")
				names[name] = true
				if kind == "histogram" {
					names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
				}
			}
		}
	}
	return names
}

var metric = regexp.MustCompile(`\b(patchbay|process|go|promhttp)_[a-z0-9_]+`)

// check looks for the metrics that a text names, and returns how many those are.
func check(t *testing.T, where string, have map[string]bool, text string) int {
	t.Helper()
	found := metric.FindAllString(text, -1)
	for _, name := range found {
		if !have[name] {
			t.Errorf("%s names the metric %s, which a scrape does not have", where, name)
		}
	}
	return len(found)
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMetricsExist proves that dashboard, alerts and the documentation name metrics that a real scrape has, and that the
// documentation names all of them.
func TestMetricsExist(t *testing.T) {
	have := scrape(t)

	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/patchbay.json")), &dashboard); err != nil {
		t.Fatalf("the dashboard: %v", err)
	}
	n := 0
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if found := check(t, "the panel "+p.Title, have, target.Expr); found == 0 {
				t.Errorf("the panel %q asks for nothing", p.Title)
			}
			n++
		}
	}
	for _, v := range dashboard.Templating.List {
		check(t, "a variable of the dashboard", have, v.Definition)
	}
	if n < 20 {
		t.Errorf("the dashboard has %d queries", n)
	}

	var alerts struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/alerts.yaml")), &alerts); err != nil {
		t.Fatalf("the alerts: %v", err)
	}
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			if found := check(t, "the alert "+r.Alert, have, r.Expr); found == 0 || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("the alert %q lacks something: %+v", r.Alert, r)
			}
			if r.For != "" {
				if _, err := time.ParseDuration(r.For); err != nil {
					t.Errorf("the alert %q: %v", r.Alert, err)
				}
			}
		}
	}
	if tool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.CommandContext(t.Context(), tool, "check", "rules", "prometheus/alerts.yaml").CombinedOutput(); err != nil {
			t.Errorf("promtool: %s", out)
		}
	}

	operations := read(t, "../docs/operations.md")
	check(t, "docs/operations.md", have, operations)
	for name := range have {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "patchbay_") && !strings.Contains(operations, "`"+base+"`") {
			t.Errorf("docs/operations.md says nothing of %s", base)
		}
	}
}

// flags returns the flags of a command.
func flags(t *testing.T, command string) string {
	t.Helper()
	var out bytes.Buffer
	if code := cli.Run(t.Context(), cli.Build{Integrations: all.Integrations()}, []string{command, "--help"}, cli.Streams{Out: &out, Err: &out}); code != 0 {
		t.Fatalf("patchbay %s --help: %d", command, code)
	}
	return out.String()
}

// TestUnit proves that the systemd unit starts what exists, and is locked up as it says.
func TestUnit(t *testing.T) {
	settings := map[string][]string{}
	section := ""
	for line := range strings.Lines(read(t, "systemd/patchbay.service")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			if !slices.Contains([]string{"Unit", "Service", "Install"}, section) {
				t.Errorf("there is no section %s", section)
			}
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Errorf("%q is no setting", line)
			}
			settings[section+"."+key] = append(settings[section+"."+key], value)
		}
	}
	start := strings.Fields(settings["Service.ExecStart"][0])
	help := flags(t, start[1])
	for _, arg := range start[2:] {
		if strings.HasPrefix(arg, "--") && !strings.Contains(help, arg+"=") {
			t.Errorf("patchbay %s has no flag %s", start[1], arg)
		}
	}
	for key, want := range map[string]string{
		"Type": "notify", "Restart": "always", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": "", "StateDirectory": "patchbay",
		"WatchdogSec": "60s", "User": "patchbay",
	} {
		if got := settings["Service."+key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	stop, err := time.ParseDuration(settings["Service.TimeoutStopSec"][0])
	if grace := time.Duration(config.Config{}.WithDefaults().Grace); err != nil || stop < grace+15*time.Second {
		t.Errorf("a stop gets %s (%v), and takes up to %s and ten seconds", stop, err, grace)
	}
	if tool, err := exec.LookPath("systemd-analyze"); err == nil {
		name, err := filepath.Abs("systemd/patchbay.service")
		if err != nil {
			t.Fatal(err)
		}
		out, _ := exec.CommandContext(t.Context(), tool, "verify", name).CombinedOutput()
		if text := string(out); strings.Contains(text, "Unknown") || strings.Contains(text, "Failed to parse") {
			t.Errorf("systemd-analyze: %s", text)
		}
	}
}

// TestContainerfile proves that the image is built by a command that works, of stages that are pinned to a version, and
// runs without privileges what exists.
func TestContainerfile(t *testing.T) {
	stages, user, build := 0, "", ""
	var entry, command []string
	from := map[string]bool{}
	for line := range strings.Lines(read(t, "container/Containerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "FROM":
			stages++
			image, name, named := strings.Cut(rest, " AS ")
			if named {
				from[name] = true
			}
			if _, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/'):], ":"); !ok || tag == "latest" {
				t.Errorf("the image %s has no version", image)
			}
			user = ""
		case "COPY":
			if of, ok := strings.CutPrefix(rest, "--from="); ok && !from[strings.Fields(of)[0]] {
				t.Errorf("there is no stage for %s", line)
			}
		case "USER":
			user = rest
		case "RUN":
			if strings.Contains(rest, "go build") {
				build = rest
			}
		case "ENTRYPOINT", "CMD":
			to := &entry
			if word == "CMD" {
				to = &command
			}
			if err := json.Unmarshal([]byte(rest), to); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		case "ENV":
			for _, pair := range strings.Fields(rest) {
				if name, _, _ := strings.Cut(pair, "="); !strings.Contains(flags(t, "serve"), "$"+name) {
					t.Errorf("no flag of patchbay serve reads %s", name)
				}
			}
		case "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL":
		default:
			t.Errorf("%s is no instruction", word)
		}
	}
	if stages != 2 || user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("%d stages, the last runs as %q", stages, user)
	}
	if len(entry) != 1 || len(command) != 1 || command[0] != "serve" {
		t.Errorf("it runs %v %v", entry, command)
	}
	version := regexp.MustCompile(`golang:(\d+\.\d+)`).FindStringSubmatch(read(t, "container/Containerfile"))
	if len(version) != 2 || !strings.Contains(read(t, "../go.mod"), "\ngo "+version[1]) {
		t.Errorf("the image builds with Go %v, go.mod wants another", version)
	}
	program := filepath.Join(t.TempDir(), "patchbay")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(build, "/out/patchbay", program, 1))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	if out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "patchbay ") {
		t.Errorf("what was built says %s (%v)", out, err)
	}
	notifies(t, program)
}

// notifies proves that the program tells a service manager when it is ready, that it is alive, and that it stops.
func notifies(t *testing.T, program string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.CommandContext(t.Context(), program, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=100000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 100); ; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if string(b[:n]) == want {
				return
			}
		}
	}
	await("READY=1")
	await("WATCHDOG=1")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	await("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}
