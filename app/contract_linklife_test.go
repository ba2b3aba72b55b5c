package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

// forge is an integration that only receives, for a partner at which hooks are registered by PUT and removed by DELETE.
type forge struct{ base string }

type forgeSettings struct {
	Place string             `json:"place"`
	Token integration.Secret `json:"token"`
}

func (*forge) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "forge", Title: "Forge", Category: "code", Description: "Tells what happens at a forge.", Decode: integration.Into[forgeSettings],
		Settings: integration.Spec{
			{Key: "place", Title: "Place", Type: integration.TypeString, Required: true, Dynamic: true},
			{Key: "token", Title: "Token", Type: integration.TypeString, Secret: true, Required: true},
		},
		Types: []patchbay.EventType{{Key: "forge.pushed", Title: "Pushed", Example: json.RawMessage(`{}`)}},
		Kinds: []string{patchbay.KindTeam},
	}
}

func (*forge) Verification(c *integration.HookCall) integration.Verification {
	return integration.Verification{Scheme: signature.GitHub(), Secrets: c.Secrets}
}

func (*forge) Open(*integration.HookCall) (*integration.Envelope, error) {
	return &integration.Envelope{Type: "push"}, nil
}

func (*forge) Read(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
	return &integration.Reading{Events: []integration.Inbound{{Type: "forge.pushed", Payload: c.Body}}}, nil
}

func (*forge) ShortName(settings any) string { return "Forge " + settings.(*forgeSettings).Place }

func (*forge) Destination(settings any) string { return settings.(*forgeSettings).Place }

func (*forge) Attaches(any) bool { return true }

func (f *forge) Attach(ctx context.Context, a *integration.Attachment) (*integration.Attached, integration.Result) {
	body, err := json.Marshal(map[string]string{"url": a.HookURL, "secret": a.HookSecret.Reveal()})
	if err != nil {
		return nil, integration.Unrenderable(err)
	}
	res := f.call(ctx, http.MethodPut, a, body)
	if res.Verdict != patchbay.VerdictDelivered {
		return nil, res
	}
	return &integration.Attached{State: json.RawMessage(`{}`)}, res
}

func (f *forge) Detach(ctx context.Context, a *integration.Attachment) integration.Result {
	return f.call(ctx, http.MethodDelete, a, nil)
}

func (f *forge) call(ctx context.Context, method string, a *integration.Attachment, body []byte) integration.Result {
	s := a.Settings.(*forgeSettings)
	resp, err := a.Env.HTTP.Do(ctx, &integration.Request{
		Method: method, URL: f.base + "/hooks/" + s.Place, Body: body, Header: integration.Header{{Name: "Authorization", Value: "Bearer " + s.Token.Reveal()}},
	})
	if err != nil {
		return integration.Unreachable("Forge", err)
	}
	return integration.Classify("Forge", resp)
}

func (f *forge) Choices(_ context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	return []integration.Choice{{Value: "acme/" + q.Search, Title: q.Search}}, integration.Delivered()
}

// TestLinkLife goes with a link that only receives from its form to its removal: the partner calls back while the hook is
// being registered, refuses, fails for a while, and does not let go of the hook.
func TestLinkLife(t *testing.T) {
	p := newPartner(t)
	data := t.TempDir()
	public := func(c *config.Config) { c.PublicURL = "https://patchbay.example" }
	mine := app.Options{Config: config.Config{Data: data}, Integrations: append(all.Integrations(), &forge{p.URL})}
	s := start(t, mine, public)
	s.key, _ = s.app.AdminKey()
	about := s.call("GET", "/integrations/forge", "").want(200).json()
	if fmt.Sprint(about["supports"]) != "[hook attach choose]" || fmt.Sprint(about["kinds"]) != "[team]" || about.at("settings", 0, "dynamic") != true {
		t.Errorf("it is described as %v", about)
	}
	choices := s.call("GET", "/v1/integrations/forge/choices/place?search=web&scope=acme/teams/1", "").want(200).json()
	if choices.objects("data")[0].str("value") != "acme/web" {
		t.Errorf("the choices are %v", choices)
	}
	in := func(place string) string {
		return `{"integration":"forge","scope":"acme/teams/1","settings":{"place":"` + place + `","token":"forge-token-1234"}}`
	}
	s.call("POST", "/v1/links", strings.Replace(in("x"), "teams", "users", 1)).refused(400, "invalid_request")
	s.call("POST", "/v1/links", strings.Replace(in("x"), `"scope"`, `"events":["*"],"scope"`, 1)).refused(400, "invalid_request")

	p.on("/hooks/none", status(404, "no such place"))
	p.on("/hooks/none/", status(404, "no such place"))
	s.call("POST", "/v1/links", in("none")).refused(400, "user_configuration_error")
	s.until("/v1/links", "empty again", func(o object) bool { return len(o.objects("data")) == 0 })

	link := s.call("POST", "/v1/links", in("web")).want(201).json()
	id := link.str("id")
	hook := strings.TrimPrefix(link.str("hook_url"), "https://patchbay.example")
	if link.str("state") != "active" || !strings.HasPrefix(hook, "/integrations/forge/hook/") || link.str("secrets", "hook_secret") == "" ||
		link.str("summary") != "forge.pushed from web → acme/teams/1" || fmt.Sprint(link["events"]) != "[]" {
		t.Errorf("the link is %v", link)
	}
	registered := func() object {
		for {
			if r := p.next(t); r.method == http.MethodPut && r.path == "/hooks/web" {
				return decode(t, r.body)
			}
		}
	}
	if got := registered(); got.str("url") != link.str("hook_url") || got.str("secret") != link.str("secrets", "hook_secret") {
		t.Errorf("registered was %v", got)
	}
	reader := s.as(t, s.newKey("", "read"))
	if got := reader.call("GET", "/v1/links/"+id, "").want(200).json(); got["hook_url"] != nil || got["secrets"] != nil {
		t.Errorf("a reader sees %v", got)
	}

	// The partner calls: signed with the link's secret, into the link's scope.
	call := func(secret string) *answer {
		h := http.Header{}
		body := `{"ref":"` + secret[:4] + `"}`
		if err := signature.GitHub().Sign(h, "", http.MethodPost, []byte(body), patchbay.Secret(secret), time.Now()); err != nil {
			t.Fatal(err)
		}
		return s.call("POST", hook, body, header{"Authorization", ""}, header{"X-Hub-Signature-256", h.Get("X-Hub-Signature-256")})
	}
	call(link.str("secrets", "hook_secret")).want(200)
	s.until("/v1/events?type=forge.pushed", "there", func(o object) bool {
		events := o.objects("data")
		return len(events) == 1 && events[0].str("scope") == "acme/teams/1" && events[0].str("source", "link") == id
	})
	rotated := s.call("POST", "/v1/links/"+id+"/secret/rotate", "").want(200).json().str("secrets", "hook_secret")
	if got := registered(); got.str("secret") != rotated {
		t.Error("the partner did not get the new secret")
	}
	call(rotated).want(200)
	call(link.str("secrets", "hook_secret")).want(200)
	call("not-the-secret").want(401)

	// The removal outlives a partner that fails and a restart.
	p.on("/hooks/web", status(500, "later"))
	s.call("DELETE", "/v1/links/"+id, "").want(204)
	if got := s.call("GET", "/v1/links/"+id, "").want(200).json(); got.str("state") != "detaching" || got["hook_url"] != nil {
		t.Errorf("after its deletion it is %v", got)
	}
	call(rotated).want(404)
	s.call("PATCH", "/v1/links/"+id, `{"name":"x"}`).refused(409, "conflict")
	s.until("/v1/links/"+id, "told why", func(o object) bool { return strings.Contains(o.str("state_reason"), "500") })
	s.stop()
	p.on("/hooks/web", status(403, "not any more"))
	again := start(t, mine, public)
	again.key = s.key
	eventually(t, func() bool { return again.call("GET", "/v1/links/"+id, "").status == 404 }, func() string { return "it is not gone" })
	told := again.until("/v1/events?type=patchbay.link.detached", "told", func(o object) bool { return len(o.objects("data")) == 1 })
	e := told.objects("data")[0]
	if e.str("scope") != "acme/teams/1" || e.str("payload", "link", "id") != id || !strings.Contains(e.str("payload", "reason"), "may remain there") {
		t.Errorf("told was %v", e)
	}
	again.stop()
}
