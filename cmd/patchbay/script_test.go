package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"patchbay": main}) }

// TestScripts runs the real program as people do: every file in testdata/script is a session at a terminal. Besides
// testscript's own commands there are:
//
//	exits CODE COMMAND…   runs a command that must end with the exit code
//	server [FLAG…]        starts "patchbay serve" in ./data and puts its address into $PATCHBAY_SERVER
//	receiver              starts a receiver of webhooks at $RECEIVER, whose requests are written to received.txt
//	watchers N            waits until so many streams are open
//	until COMMAND…        repeats a command until it succeeds, for ten seconds at most
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "server": server, "receiver": receiver, "watchers": watchers, "until": until,
		},
	})
}

// patience bounds everything that a script waits for.
const patience = 2 * time.Minute

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("%v ended with %d, not %d", args[1:], code, want)
	}
}

func server(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: server [FLAG…]")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := l.Addr().String()
	ts.Check(l.Close())
	path, err := exec.LookPath("patchbay")
	ts.Check(err)
	log, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--listen", addr, "--data", ts.MkAbs("data")}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), log, log
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "PATCHBAY_SIGNING_KEY="+ts.Getenv("PATCHBAY_SIGNING_KEY"))
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
	})
	ts.Setenv("PATCHBAY_SERVER", "http://"+addr)
	ts.Setenv("PATCHBAY_DATA", ts.MkAbs("data"))
	for end := time.Now().Add(patience); ; {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			ts.Fatalf("the server is not ready:\n%s", ts.ReadFile("server.log"))
		}
		<-time.After(20 * time.Millisecond)
	}
}

func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: receiver")
	}
	name := ts.MkAbs("received.txt")
	ts.Check(os.WriteFile(name, nil, 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintf(f, "%s %s signed=%t %s\n", r.Method, r.URL.Path, r.Header.Get("webhook-signature") != "", body)
			err = f.Close()
		}
		if err != nil || strings.HasPrefix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	ts.Defer(func() {
		_ = s.Close()
		<-done
	})
	ts.Setenv("RECEIVER", "http://"+l.Addr().String())
}

func watchers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: watchers N")
	}
	want := "patchbay_stream_watchers " + args[0]
	for end := time.Now().Add(patience); ; {
		req, err := http.NewRequest(http.MethodGet, ts.Getenv("PATCHBAY_SERVER")+"/metrics", nil)
		ts.Check(err)
		if token, err := os.ReadFile(filepath.Join(ts.Getenv("PATCHBAY_DATA"), "admin.key")); err == nil {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		}
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		_ = resp.Body.Close()
		if strings.Contains(string(body), want+"\n") {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("there are not %s streams", args[0])
		}
		<-time.After(10 * time.Millisecond)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: until COMMAND…")
	}
	for end := time.Now().Add(patience); ; {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v did not succeed: %v", args, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
