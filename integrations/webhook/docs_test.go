package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/verification"
	"github.com/patchbay/patchbay/internal/nodetest"
)

// received is a request as a receiver meets it, and whether it should be believed.
type received struct {
	Says    string            `json:"says"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"` // base64 in JSON
	Genuine bool              `json:"-"`
}

// signed makes a request with the integration itself, and what the receiver has to verify it with.
func signed(t *testing.T, says, settings, secret string, at time.Time, change func(*integration.Delivery)) received {
	t.Helper()
	r := send(t, settings, func(d *integration.Delivery) {
		d.Env.Now = func() time.Time { return at }
		if change != nil {
			change(d)
		}
	})
	c := received{Says: says, Secret: secret, Headers: map[string]string{}, Body: r.Body, Genuine: true}
	for _, f := range r.Header {
		c.Headers[strings.ToLower(f.Name)] = f.Value
	}
	return c
}

// but returns the request with something about it changed, which nobody must believe.
func (c received) but(says string, change func(*received)) received {
	headers := map[string]string{}
	for k, v := range c.Headers {
		headers[k] = v
	}
	c.Says, c.Headers, c.Body, c.Genuine = says, headers, bytes.Clone(c.Body), false
	change(&c)
	return c
}

// cases are requests that were really signed, and forged ones.
func cases(t *testing.T) []received {
	seed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(edSeed, prefixEd25519))
	if err != nil {
		t.Fatal(err)
	}
	publicKey := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	public := "whpk_" + base64.StdEncoding.EncodeToString(publicKey)
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	withHMAC, withKey := `{"url":"http://h.test","secret":"`+hmacSecret+`"}`, `{"url":"http://h.test","secret":"`+edSeed+`"}`
	rotating := func(d *integration.Delivery) { d.Previous = hmacOld }
	plain := signed(t, "HMAC", withHMAC, hmacSecret, now, nil)
	keyed := signed(t, "ed25519", withKey, public, now, nil)
	stranger := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	set := func(name, value string) func(*received) { return func(c *received) { c.Headers[name] = value } }
	without := func(name string) func(*received) { return func(c *received) { delete(c.Headers, name) } }
	secret := func(s string) func(*received) { return func(c *received) { c.Secret = s } }
	tampered := func(c *received) { c.Body[len(c.Body)/2] ^= 1 }
	// Whoever knows the public key, and everybody does, signs with it as if it were the secret of an HMAC.
	confused := keyed.but("an HMAC with the public key", func(c *received) {
		mac := hmac.New(sha256.New, publicKey)
		fmt.Fprintf(mac, "%s.%s.%s", c.Headers["webhook-id"], c.Headers["webhook-timestamp"], c.Body)
		c.Headers["webhook-signature"] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
	signature := plain.Headers["webhook-signature"]
	return []received{
		plain, keyed, confused,
		signed(t, "rotation, the new secret", withHMAC, hmacSecret, now, rotating),
		signed(t, "rotation, the old secret", withHMAC, hmacOld, now, rotating),
		signed(t, "four minutes late", withHMAC, hmacSecret, now.Add(-4*time.Minute), nil),
		signed(t, "as CloudEvent", `{"url":"http://h.test","format":"cloudevents","secret":"`+hmacSecret+`"}`, hmacSecret, now, nil),
		signed(t, "six minutes late", withHMAC, hmacSecret, now.Add(-6*time.Minute), nil).but("six minutes late", func(*received) {}),
		signed(t, "six minutes early", withHMAC, hmacSecret, now.Add(6*time.Minute), nil).but("six minutes early", func(*received) {}),
		signed(t, "ed25519, late", withKey, public, now.Add(-6*time.Minute), nil).but("ed25519, six minutes late", func(*received) {}),
		plain.but("wrong secret", secret(stranger)), plain.but("the secret before", secret(hmacOld)),
		plain.but("no secret", secret("")), plain.but("an empty secret", secret("whsec_")),
		plain.but("changed body", tampered), plain.but("empty body", func(c *received) { c.Body = []byte{} }),
		plain.but("another event", set("webhook-id", "evt_other")), plain.but("another time", set("webhook-timestamp", fmt.Sprint(now.Unix()-1))),
		plain.but("no time", without("webhook-timestamp")), plain.but("a time that is none", set("webhook-timestamp", "now")),
		plain.but("a time without end", set("webhook-timestamp", strings.Repeat("9", 5000))),
		plain.but("no signature", without("webhook-signature")), plain.but("an empty signature", set("webhook-signature", "")),
		plain.but("a signature of nothing", set("webhook-signature", "v1,")), plain.but("no base64", set("webhook-signature", "v1,$$$$ v1 ,")),
		plain.but("another version", set("webhook-signature", strings.Replace(signature, "v1,", "v2,", 1))),
		plain.but("half a signature", set("webhook-signature", signature[:len(signature)-4])),
		keyed.but("another key", secret("whpk_"+base64.StdEncoding.EncodeToString(other))), keyed.but("ed25519, changed body", tampered),
		keyed.but("half a key", secret(public[:len(public)-8])), keyed.but("a short signature", set("webhook-signature", "v1a,AAAA")),
	}
}

// runners are what is put beside the code of each language: they read the requests and print an answer for each.
var runners = map[string]struct {
	file, source string
	command      func(t *testing.T) []string
}{
	"go": {"main.go", `package main

import (
	"encoding/json"
	"net/http"
	"os"

	webhook "sample/receiver"
)

func main() {
	var cases []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	answers := []bool{}
	for _, c := range cases {
		h := http.Header{}
		for k, v := range c.Headers {
			h.Set(k, v)
		}
		answers = append(answers, webhook.Verify(c.Secret, h, c.Body))
	}
	_ = json.NewEncoder(os.Stdout).Encode(answers)
}
`, func(t *testing.T) []string { return []string{program(t, "go", "Go"), "run", "."} }},
	"js": {"main.mjs", `import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((c) => verify(c.secret, c.headers, Buffer.from(c.body, "base64")))));
`, func(t *testing.T) []string {
		return []string{filepath.Join(nodetest.Dir(t), "node_modules", ".bin", "node"), "main.mjs"}
	}},
	"python": {"main.py", `import base64, json, sys
from verify import verify
cases = json.load(sys.stdin)
print(json.dumps([verify(c["secret"], c["headers"], base64.b64decode(c["body"])) for c in cases]))
`, func(t *testing.T) []string {
		return []string{program(t, "python3", "python3 python3-cryptography"), "main.py"}
	}},
	"ruby": {"main.rb", `require "json"
require_relative "verify"
cases = JSON.parse($stdin.read)
puts JSON.generate(cases.map { |c| verify(c["secret"], c["headers"], c["body"].unpack1("m")) })
`, func(t *testing.T) []string { return []string{program(t, "ruby", "ruby"), "-W2", "main.rb"} }},
	"php": {"main.php", `<?php
error_reporting(E_ALL);
set_error_handler(function ($no, $what) { throw new Exception($what); });
require 'verify.php';
$cases = json_decode(stream_get_contents(STDIN), true);
echo json_encode(array_map(fn ($c) => verify($c['secret'], $c['headers'], base64_decode($c['body'])), $cases));
`, func(t *testing.T) []string { return []string{program(t, "php", "php-cli"), "main.php"} }},
}

// program finds an interpreter. What is not installed fails the test: code that nobody has run is not to be trusted.
func program(t *testing.T, name, packages string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing, which runs the code that receivers are shown: install it (Debian: apt-get install %s)", name, packages)
	}
	return found
}

// TestReceiversCode runs the code that receivers are given, in every language, against requests that were really signed and
// against forged ones.
func TestReceiversCode(t *testing.T) {
	all := cases(t)
	want := map[string]bool{}
	for _, c := range all {
		want[c.Says] = c.Genuine
	}
	if len(want) != len(all) {
		t.Fatal("two cases have the same name")
	}
	input, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range verification.Samples() {
		t.Run(sample.Language, func(t *testing.T) {
			runner := runners[sample.Key]
			dir := t.TempDir()
			files := map[string]string{sample.File: sample.Code, runner.file: runner.source}
			if sample.Key == "go" {
				files = map[string]string{"go.mod": "module sample\n\ngo 1.24\n", "receiver/" + sample.File: sample.Code, runner.file: runner.source}
			}
			for name, content := range files {
				name = filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			command := runner.command(t)
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
			cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
			var out, complaints bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &complaints
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s%s", err, out.String(), complaints.String())
			}
			if complaints.Len() > 0 {
				t.Errorf("it warns: %s", complaints.String())
			}
			var answers []bool
			if err := json.Unmarshal(out.Bytes(), &answers); err != nil || len(answers) != len(all) {
				t.Fatalf("%v: %s", err, out.String())
			}
			got := map[string]bool{}
			for i, c := range all {
				got[c.Says] = answers[i]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if sample.Key == "go" {
				formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", filepath.Join(dir, "receiver")).CombinedOutput()
				if err != nil || len(formatted) > 0 {
					t.Errorf("it is not formatted: %v %s", err, formatted)
				}
			}
		})
	}
}

// TestDocsHaveTheCode: the page of the integration has the code of every language.
func TestDocsHaveTheCode(t *testing.T) {
	for _, sample := range verification.Samples() {
		if !strings.Contains(New().Definition().Docs, "```"+sample.Key+"\n"+sample.Code+"```\n") {
			t.Errorf("the code in %s is not in the documentation", sample.Language)
		}
	}
}
