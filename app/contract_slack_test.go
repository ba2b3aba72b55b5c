package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
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
	revoked bool
	posted  []object
}

func (w *workspace) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
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
	default:
		answer(object{"ok": false, "error": "unknown_method"})
	}
}

func (w *workspace) messages() []object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.posted)
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
	w := &workspace{}
	p := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(p.Close)
	s := serve(t, func(c *config.Config) {
		c.Integrations = config.Integrations{"slack": {"signing_secret": slackSecret, "api_url": p.URL + "/api"}}
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
