package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// onDisk returns the files of a directory in which a text stands.
func onDisk(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSecretsAtRest proves that no file of an installation shows what links hide, while it runs and afterwards, whatever
// was done with them.
func TestSecretsAtRest(t *testing.T) {
	const hidden = "T0PSECRET-in-the-path"
	dir := t.TempDir()
	s, p := start(t, app.Options{Config: config.Config{Data: dir}}), newPartner(t)
	s.key, _ = s.app.AdminKey()
	key := s.key
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	s.link(`{"integration":"slack","events":["*"],"settings":{"url":"` + p.url("/"+hidden) + `"}}`)
	s.publish(`{` + made + `,"payload":{"n":1}}`)
	if r := p.next(t); r.path != "/"+hidden {
		t.Fatalf("it was sent to %s", r.path)
	}
	link := s.link(hook(p, "/signed", `"events":["nothing"]`))
	signing := s.call("POST", "/v1/links/"+link+"/secret/rotate", "").want(200).json().str("secrets", "secret")
	if len(signing) < 20 {
		t.Fatalf("the signing key is %q", signing)
	}
	s.call("PATCH", "/v1/links/"+link, `{"name":"another revision"}`).want(200)
	clean := func(when string) {
		t.Helper()
		for what, text := range map[string]string{"the address": hidden, "the signing key": signing, "the signing key's end": signing[10:]} {
			if files := onDisk(t, dir, text); len(files) > 0 {
				t.Errorf("%s: %s stands in %q", when, what, files)
			}
		}
	}
	clean("while it runs")
	s.stop()
	clean("after a stop")
	s = start(t, app.Options{Config: config.Config{Data: dir}}).as(t, key)
	s.publish(`{` + made + `,"payload":{"n":2}}`)
	if r := p.next(t); r.path != "/"+hidden {
		t.Errorf("after a restart it was sent to %s", r.path)
	}
	clean("after a restart")
}

// TestSealingWhatWasThere proves that links of a version without sealing work at once, are sealed in the background, and
// leave the database's files.
func TestSealingWhatWasThere(t *testing.T) {
	const hidden = "T0PSECRET-in-the-open"
	dir, p := t.TempDir(), newPartner(t)
	old, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const links = 600 // more than a step of the job
	for i := range links {
		scope := patchbay.Scope("acme")
		if i > 0 {
			scope = "other"
		}
		settings, err := json.Marshal(map[string]string{"url": p.url("/" + hidden)})
		if err != nil {
			t.Fatal(err)
		}
		l := &patchbay.Link{
			ID: patchbay.LinkID(old.NewID(1)), Revision: 1, Integration: "slack", Scope: scope, Reach: patchbay.ReachSubtree, Events: []patchbay.Pattern{"*"},
			Settings: settings, Enabled: true, State: patchbay.LinkActive, CreatedAt: time.Now(), UpdatedAt: time.Now(),
		}
		if err := old.SaveLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if len(onDisk(t, dir, hidden)) == 0 {
		t.Fatal("the test finds nothing that is in the open")
	}
	s := start(t, app.Options{Config: config.Config{Data: dir}})
	s.key, _ = s.app.AdminKey()
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	s.publish(`{` + made + `,"scope":"acme","payload":{"n":1}}`)
	if r := p.next(t); r.path != "/"+hidden {
		t.Errorf("it was sent to %s", r.path)
	}
	within(t, time.Minute, "everything is sealed", func() bool {
		jobs := s.call("GET", "/v1/jobs?action=reseal", "").want(200).json().objects("data")
		return len(jobs) == 1 && jobs[0].str("state") == "succeeded" && jobs[0].str("changed") == "600"
	})
	if o := s.call("GET", "/v1/secrets", "").want(200).json(); o.str("unsealed") != "0" || o.objects("data")[0].str("rows") != "600" {
		t.Errorf("what is sealed: %v", o)
	}
	if files := onDisk(t, dir, hidden); len(files) > 0 {
		t.Errorf("what stood in the open still stands in %q", files)
	}
}

// TestRefusedStart proves that a start without the right key file leaves the database as it is, byte by byte.
func TestRefusedStart(t *testing.T) {
	dir, p := t.TempDir(), newPartner(t)
	s := start(t, app.Options{Config: config.Config{Data: dir}})
	s.key, _ = s.app.AdminKey()
	s.link(hook(p, "/here", `"events":["nothing"]`))
	s.stop()
	content := func() (out []byte) {
		for _, name := range []string{"patchbay.db", "patchbay.db-wal"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			out = append(out, b...)
		}
		return out
	}
	before := content()
	other := filepath.Join(t.TempDir(), "other.key")
	ring, err := secret.Read(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{other, filepath.Join(t.TempDir(), "none.key")} {
		a, err := app.New(app.Options{Config: config.Config{Data: dir, KeyFile: file, Listen: "127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("a start with %s: %v", file, err)
		}
		if !bytes.Equal(content(), before) {
			t.Errorf("a refused start with %s has changed the database", file)
		}
	}
}

// kms is a Wrapper of an embedding program, which has no key file.
type kms struct{ ring *secret.Ring }

func (k kms) Current() string { return "arn:kms/" + k.ring.Current() }

func (k kms) Wrap(ctx context.Context, key string, dataKey, place []byte) ([]byte, error) {
	return k.ring.Wrap(ctx, strings.TrimPrefix(key, "arn:kms/"), dataKey, place)
}

func (k kms) Unwrap(ctx context.Context, key string, wrapped, place []byte) ([]byte, error) {
	id, ok := strings.CutPrefix(key, "arn:kms/")
	if !ok {
		return nil, app.ErrUnknownKey
	}
	return k.ring.Unwrap(ctx, id, wrapped, place)
}

// TestOwnWrapper proves that an embedding program's Wrapper takes the place of the key file, and that neither opens what
// the other has sealed.
func TestOwnWrapper(t *testing.T) {
	ring, err := secret.Read(filepath.Join(t.TempDir(), "elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := app.Options{Config: config.Config{Data: dir}, Wrapper: kms{ring}}
	s, p := start(t, o), newPartner(t)
	s.key, _ = s.app.AdminKey()
	key := s.key
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	s.link(hook(p, "/here", `"events":["*"]`))
	if _, err := os.Stat(filepath.Join(dir, "secret.key")); err == nil {
		t.Error("there is a key file")
	}
	if o := s.call("GET", "/v1/secrets", "").want(200).json(); o.str("file") != "" || o.objects("data")[0].str("id") != (kms{ring}).Current() {
		t.Errorf("the keys are %v", o)
	}
	s.stop()
	if a, err := app.New(app.Options{Config: config.Config{Data: dir, Listen: "127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	} else if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "--key-file") {
		t.Errorf("a start with a key file: %v", err)
	}
	s = start(t, o).as(t, key)
	s.publish(`{` + made + `,"payload":{"n":1}}`)
	if r := p.next(t); r.path != "/here" {
		t.Errorf("it was sent to %s", r.path)
	}
}
