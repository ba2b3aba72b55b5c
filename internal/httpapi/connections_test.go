package httpapi

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/connect"
)

type fakeConnections struct {
	create func(in connect.Input) (*connect.View, bool, error)
	list   func(f connect.ListFilter) ([]connect.View, bool, error)
	update func(id patchbay.ConnectionID, in connect.Input, clear []string, ifMatch string) (*connect.View, error)
	remove func(id patchbay.ConnectionID, force bool) (*connect.Deleted, error)
	act    func(verb string, id patchbay.ConnectionID) (*connect.View, error)
}

func (f *fakeConnections) Create(_ context.Context, _ *access.Caller, in connect.Input) (*connect.View, bool, error) {
	if f.create == nil {
		return nil, false, errUnexpected
	}
	return f.create(in)
}

func (f *fakeConnections) List(_ context.Context, _ *access.Caller, l connect.ListFilter) ([]connect.View, bool, error) {
	if f.list == nil {
		return nil, false, errUnexpected
	}
	return f.list(l)
}

func (f *fakeConnections) Update(_ context.Context, _ *access.Caller, id patchbay.ConnectionID, in connect.Input, clear []string, ifMatch string) (*connect.View, error) {
	if f.update == nil {
		return nil, errUnexpected
	}
	return f.update(id, in, clear, ifMatch)
}

func (f *fakeConnections) Delete(_ context.Context, _ *access.Caller, id patchbay.ConnectionID, force bool) (*connect.Deleted, error) {
	if f.remove == nil {
		return nil, errUnexpected
	}
	return f.remove(id, force)
}

func (f *fakeConnections) do(verb string, id patchbay.ConnectionID) (*connect.View, error) {
	if f.act == nil {
		return nil, errUnexpected
	}
	return f.act(verb, id)
}

func (f *fakeConnections) Get(_ context.Context, _ *access.Caller, id patchbay.ConnectionID) (*connect.View, error) {
	return f.do("get", id)
}

func (f *fakeConnections) Check(_ context.Context, _ *access.Caller, id patchbay.ConnectionID) (*connect.View, error) {
	return f.do("check", id)
}

func TestConnectionRoutes(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	path := "/v1/connections/" + exampleConnectionID.String()
	version := exampleConnection.Version()

	f.connections.create = func(in connect.Input) (*connect.View, bool, error) {
		if *in.Integration != "jira" || string(in.Settings) != `{"token":"t"}` {
			t.Errorf("%+v", in)
		}
		return &exampleConnection, *in.Owner == "new", nil
	}
	for owner, status := range map[string]int{"new": 201, "known": 200} {
		w := f.call(token, "POST", "/v1/connections", `{"integration":"jira","owner":"`+owner+`","settings":{"token":"t"}}`)
		v := wantJSON[connect.View](t, w, status)
		if d := cmp.Diff(exampleConnection, v); d != "" || w.Header().Get("Location") != path || w.Header().Get("ETag") != `"`+version+`"` {
			t.Errorf("%v\n%s", w.Header(), d)
		}
	}

	acme, web := patchbay.Scope("acme"), patchbay.Scope("acme/repos/web")
	for query, want := range map[string]connect.ListFilter{
		"":                                    {Limit: defaultLimit},
		"?integration=jira&scope=acme":        {Integration: "jira", Scope: &acme, Limit: defaultLimit},
		"?serving=acme%2Frepos%2Fweb":         {Serving: &web, Limit: defaultLimit},
		"?limit=1&cursor=" + idCursor('c', 7): {After: 7, Limit: 1},
	} {
		f.connections.list = func(got connect.ListFilter) ([]connect.View, bool, error) {
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: %s", query, d)
			}
			return []connect.View{exampleConnection}, true, nil
		}
		p := wantJSON[page[connect.View]](t, f.call(token, "GET", "/v1/connections"+query, ""), 200)
		if len(p.Data) != 1 || p.Next == nil || *p.Next != idCursor('c', int64(exampleConnectionID)) {
			t.Errorf("%s: %+v", query, p)
		}
	}
	for _, query := range []string{"?scope=a&serving=a", "?scope=a//b", "?serving=a//b", "?cursor=" + idCursor('l', 7), "?owner=x"} {
		wantError(t, f.call(token, "GET", "/v1/connections"+query, ""), 400, patchbay.CodeInvalidRequest)
	}

	f.connections.act = func(_ string, id patchbay.ConnectionID) (*connect.View, error) {
		if id != exampleConnectionID {
			t.Error(id)
		}
		return &exampleConnection, nil
	}
	for verb, target := range map[string]string{"GET": path, "POST": path + "/check"} {
		if w := f.call(token, verb, target, ""); w.Code != 200 || w.Header().Get("ETag") != `"`+version+`"` {
			t.Errorf("%s %s: %d %v", verb, target, w.Code, w.Header())
		}
	}
	wantError(t, f.call(token, "GET", "/v1/connections/lnk_1", ""), 404, patchbay.CodeNotFound)
}

func TestConnectionChanges(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	path := "/v1/connections/" + exampleConnectionID.String()
	for header, want := range map[string]string{"": "", "*": "", `"abc"`: "abc", `W/"abc"`: "abc"} {
		f.connections.update = func(_ patchbay.ConnectionID, in connect.Input, clear []string, ifMatch string) (*connect.View, error) {
			if ifMatch != want || *in.Owner != "u-2" || !cmp.Equal(clear, []string{"name"}) {
				t.Errorf("%q: %q %v", header, ifMatch, clear)
			}
			return &exampleConnection, nil
		}
		w := f.do(request("PATCH", path, `{"owner":"u-2","name":null}`, "Authorization", "Bearer "+token, "If-Match", header))
		if w.Code != 200 || w.Header().Get("ETag") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	for _, header := range []string{`abc`, `"a", "b"`, `""`} {
		wantError(t, f.do(request("PATCH", path, `{}`, "Authorization", "Bearer "+token, "If-Match", header)), 400, patchbay.CodeInvalidRequest)
	}

	f.connections.remove = func(_ patchbay.ConnectionID, force bool) (*connect.Deleted, error) {
		if force {
			return &connect.Deleted{Notice: "remove it at “GitHub”"}, nil
		}
		return &connect.Deleted{Revoked: true}, nil
	}
	if w := f.call(token, "DELETE", path, ""); w.Code != 204 || w.Body.Len() > 0 || w.Header().Get(noticeHeader) != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := f.call(token, "DELETE", path+"?force=true", ""); w.Code != 204 || w.Header().Get(noticeHeader) != "remove it at ?GitHub?" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
