package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
)

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "x", idCursor(cursorEvents, 0), idCursor(cursorEvents, 1<<62), idCursor(cursorLinks, 7), keyCursor(cursorTypes, "repo.push"),
		keyCursor(cursorEvents, ""), "ZQAAAAAAAAAB=", "_________w", "ZQAAAAAAAAAC\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := Paging{Cursor: text}
		if id, err := p.idOf(cursorEvents); err == nil {
			if id < 0 || text != "" && idCursor(cursorEvents, id) != text {
				t.Errorf("%q is read as %d, which is spelled %q", text, id, idCursor(cursorEvents, id))
			}
		} else if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%q: %v", text, err)
		}
		if key, err := p.keyOf(cursorTypes); err == nil && text != "" && keyCursor(cursorTypes, key) != text {
			t.Errorf("%q is read as %q, which is spelled %q", text, key, keyCursor(cursorTypes, key))
		}
	})
}

func TestPagesByKeyCoverTheList(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e"}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		p := Paging{Limit: limit}
		for pages := 0; ; pages++ {
			page, err := pageByKey(all, func(s *string) string { return *s }, cursorTypes, p)
			if err != nil || pages > len(all) {
				t.Fatalf("limit %d, page %d: %v", limit, pages, err)
			}
			got = append(got, page.Data...)
			if page.Next == nil {
				break
			}
			p.Cursor = *page.Next
		}
		if strings.Join(got, "") != "abcde" {
			t.Errorf("limit %d: the pages hold %v", limit, got)
		}
	}
}

// FuzzRequests: whatever is sent, the answer is JSON in the API's form and nobody's fault but the caller's.
func FuzzRequests(f *testing.F) {
	fix := newFixture(&testing.T{})
	token := fix.key("", access.Admin)
	fix.links.create = func(*access.Caller, links.Input) (*links.View, error) { return &exampleLink, nil }
	fix.links.update = func(*access.Caller, patchbay.LinkID, links.Input, []string, int) (*links.View, error) {
		return &exampleLink, nil
	}
	fix.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) {
		return &ingest.Answer{Status: 201, Body: []byte(`{}`)}, nil
	}
	targets := []string{"POST /v1/links", "PATCH /v1/links/" + exampleLinkID.String(), "PUT /v1/event-types/x", "POST /v1/keys", "POST /events"}
	for i, body := range []string{`{}`, `{"filter":null,"settings":{"n":1e999}}`, `{"title":"x","message":{"overrides":{"a":{"skip":true}}}}`, `{"permissions":["read"],"expires_at":null}`,
		`{"a":[[[[{}]]]]}`, `null`, `[]`, `"x"`, "\xff", `{"retry":{"schedule":[1,"2s",null],"max_age":-1}}`, `{"concurrency":1.5,"rate":1e308}`, `{"Events":null,"EVENTS":["a"]}`} {
		f.Add(byte(i), []byte(body), "q=1", `"3"`)
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte, query, match string) {
		method, path, _ := strings.Cut(targets[int(which)%len(targets)], " ")
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header["If-Match"] = []string{match}
		w := httptest.NewRecorder()
		fix.handler.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code == 422 || w.Code == 404 {
			t.Fatalf("%s %s with %q: %d %s", method, path, body, w.Code, w.Body)
		}
		if w.Code < 400 {
			return
		}
		var p problem
		dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil || p.Message == "" || p.Type.HTTPStatus() != w.Code {
			t.Errorf("%s %s with %q: %d %s", method, path, body, w.Code, w.Body)
		}
	})
}

// TestPublishingIsCheap keeps the hot path from growing by accident. It leaves room for the response's own.
func TestPublishingIsCheap(t *testing.T) {
	f := newFixture(t)
	answer := &ingest.Answer{Status: 201, Body: []byte(`{}`)}
	f.ingest.accept = func(*access.Caller, []byte, string) (*ingest.Answer, error) { return answer, nil }
	r := request("POST", "/events", eventBody, "Authorization", "Bearer "+f.key("", access.Publish))
	body := rewinder{strings.NewReader(eventBody)}
	r.Body = body
	w := &discard{header: map[string][]string{}}
	if n := testing.AllocsPerRun(200, func() {
		body.Reset(eventBody)
		f.handler.ServeHTTP(w, r)
	}); n > 4 {
		t.Errorf("publishing costs %v allocations", n)
	}
}

// TestVendoredScript: the script is the published one, as assets/README.md says.
func TestVendoredScript(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(rapidoc))
	if err != nil {
		t.Fatal(err)
	}
	script, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(script)
	if got := hex.EncodeToString(sum[:]); got != "affbd173a65e870e18f392cca963113bcdafb6e50e88cd2f6a834a65b22db94d" {
		t.Errorf("the script's SHA-256 is %s", got)
	}
	f := newFixture(t)
	token := f.key("", access.Read)
	plain := f.call(token, "GET", "/docs/rapidoc.js", "")
	if !bytes.Equal(plain.Body.Bytes(), script) || plain.Header().Get("Content-Encoding") != "" {
		t.Error("it is not served as it is to a client that does not unpack")
	}
	packed := f.call(token, "GET", "/docs/rapidoc.js", "", "Accept-Encoding", "gzip, br")
	if !bytes.Equal(packed.Body.Bytes(), rapidoc) || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Error("it is not served packed to a client that unpacks")
	}
}
