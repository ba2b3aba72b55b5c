package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/config"
)

const slackSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// workspace plays Slack's Web API for one workspace and one app, as its documentation says.
type workspace struct {
	mu      sync.Mutex
	url     string
	revoked bool
	posted  []object
	hooked  []object
	asked   url.Values // what the consent was asked for
	codes   map[string]string
}

// newWorkspace starts one.
func newWorkspace(t *testing.T) *workspace {
	w := &workspace{codes: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// consents plays the pages and addresses that need no token. It reports whether the request was for one of them.
func (w *workspace) consents(rw http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/oauth/v2/authorize": // the person agrees, and picks #general for the webhook
		w.asked = r.URL.Query()
		w.codes["the-code"] = w.asked.Get("redirect_uri")
		http.Redirect(rw, r, w.asked.Get("redirect_uri")+"?"+url.Values{"code": {"the-code"}, "state": {w.asked.Get("state")}}.Encode(), http.StatusFound)
	case "/api/oauth.v2.access":
		id, secret, _ := r.BasicAuth()
		to, known := w.codes[r.FormValue("code")]
		delete(w.codes, r.FormValue("code"))
		if id != "1.2" || secret != "the-secret" || !known || to != r.FormValue("redirect_uri") || r.FormValue("code_verifier") != "" {
			fmt.Fprint(rw, `{"ok":false,"error":"invalid_code"}`)
			return true
		}
		fmt.Fprintf(rw, `{"ok":true,"access_token":"xoxb-the-bots-token","token_type":"bot","scope":"chat:write,commands,incoming-webhook","bot_user_id":"U0BOT",
			"app_id":"A0KRD7HC3","team":{"name":"acme","id":"T123ABC456"},"enterprise":null,"authed_user":{"id":"U123ABC456"},
			"incoming_webhook":{"channel":"#general","channel_id":"C0GENERAL01","configuration_url":"https://acme.slack.com/x","url":"%s/services/T/B/hook"}}`, w.url)
	case "/services/T/B/hook":
		var fields object
		_ = json.NewDecoder(r.Body).Decode(&fields)
		w.hooked = append(w.hooked, fields)
		fmt.Fprint(rw, "ok")
	default:
		return false
	}
	return true
}

func (w *workspace) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.consents(rw, r) {
		return
	}
	answer := func(fields object) { _ = json.NewEncoder(rw).Encode(fields) }
	if w.revoked || r.Header.Get("Authorization") != "Bearer xoxb-the-bots-token" {
		answer(object{"ok": false, "error": "token_revoked"})
		return
	}
	switch r.URL.Path {
	case "/api/auth.test":
		answer(object{"ok": true, "url": "https://acme.slack.com/", "team": "acme", "team_id": "T123ABC456", "user_id": "U0BOT", "bot_id": "B0BOT"})
	case "/api/chat.postMessage":
		var fields object
		_ = json.NewDecoder(r.Body).Decode(&fields)
		w.posted = append(w.posted, fields)
		answer(object{"ok": true, "channel": "C0123456789", "ts": fmt.Sprintf("1503435956.%06d", len(w.posted))})
	case "/api/conversations.list":
		answer(object{"ok": true, "channels": []object{{"id": "C0123456789", "name": "develop", "is_member": true}, {"id": "C0GENERAL01", "name": "general"}}})
	default:
		answer(object{"ok": false, "error": "unknown_method"})
	}
}

// messages are those that the app posted, hooks those that came through the webhook.
func (w *workspace) messages() []object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.posted)
}

func (w *workspace) hooks() []object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hooked)
}

// fromSlack calls an address as Slack does.
func (s *server) fromSlack(address, contentType, body string) *answer {
	s.t.Helper()
	h := http.Header{}
	if err := signature.Slack().Sign(h, "", "POST", []byte(body), slackSecret, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.key = ""
	return s.call("POST", strings.TrimPrefix(address, s.url), body, header{"Content-Type", contentType},
		header{"X-Slack-Signature", h.Get("X-Slack-Signature")}, header{"X-Slack-Request-Timestamp", h.Get("X-Slack-Request-Timestamp")})
}

func slackCommand(team, text string) string {
	return url.Values{
		"command": {"/done"}, "text": {text}, "team_id": {team}, "channel_id": {"C0123456789"}, "channel_name": {"develop"},
		"user_id": {"U123ABC456"}, "user_name": {"ann"}, "trigger_id": {"trigger of " + text},
	}.Encode()
}

// A workspace that is connected gets messages in threads, and what people write there comes back as entries.
func TestSlackBothWays(t *testing.T) {
	w := newWorkspace(t)
	s := serve(t, func(c *config.Config) {
		c.Integrations = config.Integrations{"slack": {"signing_secret": slackSecret, "api_url": w.url + "/api"}}
	})
	con := s.call("POST", "/v1/connections", `{"integration":"slack","scope":"acme","settings":{"token":"xoxb-the-bots-token"}}`).want(201).json()
	if con.str("account", "id") != "T123ABC456" || con.str("state") != "active" || con.at("settings") != nil {
		t.Fatalf("the connection is %v", con)
	}
	link := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"slack","scope":"acme/teams/1","events":["*"],"connection":%q,
		"settings":{"channel":"#develop (C0123456789)","receive":"commands"}}`, con.str("id"))).want(201).json()
	if link.str("short_name") != "Slack #develop" || !strings.HasSuffix(link.str("summary"), "→ #develop") || link.str("state") != "active" {
		t.Errorf("the link is %v", link)
	}

	t.Run("out, in a thread", func(t *testing.T) {
		s := s.in(t)
		for i := range 2 {
			id, _ := s.publish(fmt.Sprintf(`{"event":"entry.created","scope":"acme/teams/1","payload":{"text":"entry","source":"test","external_id":"7","n":%d}}`, i))
			if d := s.delivered(id).objects("deliveries"); len(d) != 1 || d[0].str("state") != "succeeded" {
				t.Fatalf("%v", d)
			}
		}
		got := w.messages()
		if len(got) != 2 || got[0].str("channel") != "C0123456789" || got[0].at("thread_ts") != nil || got[1].str("thread_ts") != "1503435956.000001" {
			t.Errorf("posted %v", got)
		}
	})

	t.Run("in", func(t *testing.T) {
		s := s.in(t)
		admin := s.in(t)
		const hook = "/integrations/slack/hook"
		challenge := s.fromSlack(hook, "application/json", `{"type":"url_verification","token":"x","challenge":"3eZbrw1a"}`).want(200)
		if challenge.json().str("challenge") != "3eZbrw1a" {
			t.Errorf("the challenge is answered with %s", challenge.body)
		}
		s.call("POST", hook, slackCommand("T123ABC456", "forged"), header{"Content-Type", "application/x-www-form-urlencoded"}).want(401)
		s.fromSlack(hook, "application/x-www-form-urlencoded", slackCommand("T9", "of another workspace")).want(200)
		told := s.fromSlack(hook, "application/x-www-form-urlencoded", slackCommand("T123ABC456", "Fixed the *login*")).want(200).json()
		if told.str("response_type") != "ephemeral" || !strings.Contains(told.str("text"), "/done") {
			t.Errorf("the command is answered with %v", told)
		}
		var entries []object
		eventually(t, func() bool {
			entries = nil
			for _, e := range admin.call("GET", "/v1/events?type=entry.created", "").want(200).json().objects("data") {
				if e.str("source", "kind") == "hook" {
					entries = append(entries, e)
				}
			}
			return len(entries) > 0
		}, func() string { return "no entry came of the command" })
		e := admin.delivered(entries[0].str("id"))
		if len(entries) != 1 || e.str("scope") != "acme/teams/1" || e.str("payload", "text") != "Fixed the **login**" ||
			e.str("payload", "author", "external_id") != "U123ABC456" || e.str("payload", "source") != "slack" {
			t.Errorf("the entry is %v", e)
		}
		if len(e.objects("deliveries")) != 0 || len(w.messages()) != 2 {
			t.Errorf("what came from Slack went back there: %v", e.objects("deliveries"))
		}
	})

	t.Run("a token that was taken back", func(t *testing.T) {
		s := s.in(t)
		w.mu.Lock()
		w.revoked = true
		w.mu.Unlock()
		id, _ := s.publish(`{"event":"entry.created","scope":"acme/teams/1","payload":{"text":"too late"}}`)
		s.until("/v1/connections/"+con.str("id"), "in need of a new consent", func(o object) bool { return o.str("state") == "needs_reauth" })
		var attempt object
		eventually(t, func() bool {
			for _, d := range s.call("GET", "/v1/events/"+id, "").want(200).json().objects("deliveries") {
				if all := s.call("GET", "/v1/deliveries/"+d.str("id"), "").want(200).json().objects("attempts"); len(all) > 0 {
					attempt = all[0]
				}
			}
			return attempt != nil
		}, func() string { return "nothing was tried" })
		if attempt.str("verdict") != "auth_expired" || strings.Contains(fmt.Sprint(attempt), "xoxb-the-bots-token") {
			t.Errorf("the attempt is %v", attempt)
		}
	})
}

// A browser goes through Slack's consent and comes back with a connection, over which a link needs nothing more: it posts through
// the webhook that the consent made. What the person does in Slack is told to that person too.
func TestSlackConsent(t *testing.T) {
	w := newWorkspace(t)
	s := serve(t, dev, func(c *config.Config) {
		c.Integrations = config.Integrations{"slack": {
			"client_id": "1.2", "client_secret": "the-secret", "signing_secret": slackSecret, "api_url": w.url + "/api",
		}}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.http.Jar = jar
	form := s.call("GET", "/auth/slack?scope=acme&return="+url.QueryEscape("/settings/acme"), "").want(200)
	if !strings.Contains(string(form.body), "acme") {
		t.Errorf("the browser comes back to %s", form.body)
	}
	if got := w.asked; got.Get("client_id") != "1.2" || got.Get("redirect_uri") != s.url+"/auth/slack/callback" || got.Get("code_challenge") != "" ||
		!strings.HasPrefix(got.Get("scope"), "incoming-webhook,chat:write,") {
		t.Errorf("the consent was asked for with %v", got)
	}
	all := s.call("GET", "/v1/connections", "").want(200)
	cons := all.json().objects("data")
	if len(cons) != 1 || cons[0].str("account", "id") != "T123ABC456" || cons[0].str("scope") != "acme" || strings.Contains(string(all.body), "xoxb") ||
		strings.Contains(string(all.body), "/services/") {
		t.Fatalf("the connections are %s", all.body)
	}
	con := cons[0].str("id")
	s.call("PATCH", "/v1/connections/"+con, `{"owner":"u-17","owner_scope":"acme/users/17"}`).want(200)

	// The form offers the workspace's channels.
	page := s.call("GET", "/integrations/slack/link?scope=acme/teams/1&connection="+con, "").want(200)
	if !strings.Contains(string(page.body), "#develop (C0123456789)") || strings.Contains(string(page.body), "xoxb") {
		t.Errorf("the form does not offer the channels: %s", page.body)
	}
	found := s.call("GET", "/v1/integrations/slack/choices/channel?search=gen&connection="+con, "").want(200).json().objects("data")
	if len(found) != 1 || found[0].str("value") != "#general (C0GENERAL01)" || found[0].str("help") != "the app is not a member" {
		t.Errorf("the choices are %v", found)
	}
	link := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"slack","scope":"acme/teams/1","events":["run_completion"],"connection":%q,"settings":{"receive":"commands"}}`, con)).want(201).json()
	if link.str("short_name") != "Slack #general" || link.str("settings", "channel") != "#general" || !strings.HasPrefix(link.str("settings", "url"), "••••") {
		t.Errorf("the link is %v", link)
	}
	chosen := s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"slack","scope":"acme/teams/2","events":["run_completion"],"connection":%q,"settings":{"channel":"C0123456789"}}`, con)).want(201).json()
	if chosen.at("settings", "url") != nil {
		t.Errorf("a link that names its channel got the webhook of another: %v", chosen)
	}
	for _, scope := range []string{"acme/teams/1", "acme/teams/2"} {
		id, _ := s.publish(fmt.Sprintf(`{"event":"run_completion","scope":%q,"payload":{"run":{"id":7,"result":"passed"}}}`, scope))
		if d := s.delivered(id).objects("deliveries"); len(d) != 1 || d[0].str("state") != "succeeded" {
			t.Errorf("%s: %v", scope, d)
		}
	}
	if hooks, posts := w.hooks(), w.messages(); len(hooks) != 1 || len(posts) != 1 {
		t.Errorf("%d messages came through the webhook and %d as the app, want one each", len(hooks), len(posts))
	}

	s.fromSlack("/integrations/slack/hook", "application/x-www-form-urlencoded", slackCommand("T123ABC456", "Fixed the login")).want(200)
	var entry object
	eventually(t, func() bool {
		found := s.call("GET", "/v1/events?type=entry.created", "").want(200).json().objects("data")
		if len(found) > 0 {
			entry = s.call("GET", "/v1/events/"+found[0].str("id"), "").want(200).json()
		}
		return entry != nil
	}, func() string { return "no entry came of the command" })
	if also, _ := entry.at("also").([]any); entry.str("scope") != "acme/teams/1" || len(also) != 1 || also[0] != "acme/users/17" {
		t.Errorf("the entry is %v", entry)
	}

	// The workspace takes the app away: the owner hears of it without anything having been sent.
	w.mu.Lock()
	w.revoked = true
	w.mu.Unlock()
	s.fromSlack("/integrations/slack/hook", "application/json", `{"type":"event_callback","team_id":"T123ABC456","api_app_id":"A0KRD7HC3","event_id":"Ev1","event":{"type":"app_uninstalled"}}`).want(200)
	s.until("/v1/connections/"+con, "in need of a new consent", func(o object) bool { return o.str("state") == "needs_reauth" })
	for _, kind := range []string{"slack.app_uninstalled", "patchbay.connection.needs_reauth"} {
		eventually(t, func() bool {
			return len(s.call("GET", "/v1/events?type="+kind, "").want(200).json().objects("data")) == 1
		}, func() string { return "there is no event " + kind })
	}

	s.call("DELETE", "/v1/links/"+link.str("id"), "").want(204)
	s.call("DELETE", "/v1/links/"+chosen.str("id"), "").want(204)
}
