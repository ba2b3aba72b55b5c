package slack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	botToken  = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy"
	teamID    = "T123ABC456"
	develop   = "C0123456789"
	secretOps = "G0SECRET001"
	archived  = "C0ARCHIVED1"
	botUser   = "U0KRQLJ9H"
)

// fakeSlack is a workspace that answers the methods we call as their documentation says, and remembers what was posted.
type fakeSlack struct {
	*httptest.Server

	mu       sync.Mutex
	tokens   map[string]string // a token and why it is not taken; "" is good
	refresh  map[string]bool   // refresh tokens that were not used yet
	codes    map[string]bool
	channels []conversation
	messages []posting
	sent     []string // the methods that were called
	queries  []url.Values
	// say makes a method answer with an error instead, and wait.
	say     map[string]string
	wait    map[string]int
	answer  map[string]any // extends the answers of oauth.v2.access
	rotates bool
	issued  int
}

// posting is a message of the workspace.
type posting struct {
	Channel string
	TS      string
	Fields  map[string]json.RawMessage
	Edits   int
}

func (p *posting) thread() string {
	var ts string
	_ = json.Unmarshal(p.Fields["thread_ts"], &ts)
	return ts
}

func newFake(t *testing.T) *fakeSlack {
	t.Helper()
	f := &fakeSlack{
		tokens: map[string]string{botToken: ""}, refresh: map[string]bool{}, codes: map[string]bool{"good": true},
		say: map[string]string{}, wait: map[string]int{}, answer: map[string]any{},
		channels: []conversation{
			{ID: develop, Name: "develop", Member: true}, {ID: "C0GENERAL01", Name: "general"},
			{ID: secretOps, Name: "secret-ops", Private: true, Member: true}, {ID: archived, Name: "old", Archived: true},
		},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		f.Close()
	})
	return f
}

func (f *fakeSlack) config() json.RawMessage {
	return json.RawMessage(`{"api_url":"` + f.URL + `/api","client_id":"1.2","client_secret":"client-secret"}`)
}

func (f *fakeSlack) env() *integration.Env {
	return &integration.Env{HTTP: &client{}, Now: time.Now, Config: f.config()}
}

// newServer starts a server of a test's own and returns its address.
func newServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		s.Close()
	})
	return s.URL
}

// connected is a connection with the workspace.
func connected() *integration.Connected {
	return &integration.Connected{
		ID: 1, Account: patchbay.Account{ID: teamID, Name: "acme"},
		Data: json.RawMessage(`{"team":{"id":"` + teamID + `","name":"acme"},"url":"https://acme.slack.com/","app_id":"A0KRD7HC3","bot_id":"B0BOT",` +
			`"bot_user_id":"` + botUser + `","authed_user":"U123ABC456","webhook":{"channel":"#general","channel_id":"C0GENERAL01"}}`),
		Credentials: patchbay.Credentials{Access: botToken},
	}
}

// ServeHTTP implements http.Handler.
func (f *fakeSlack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/api/")
	f.sent = append(f.sent, name)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if word := f.say[name]; word != "" {
		if word == "ratelimited" {
			w.Header().Set("Retry-After", strconv.Itoa(f.wait[name]))
			w.WriteHeader(http.StatusTooManyRequests)
		}
		no(w, word)
		return
	}
	if name == "oauth.v2.access" {
		f.access(w, r)
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if why, known := f.tokens[token]; token == "" || !known || why != "" {
		no(w, map[bool]string{true: "not_authed", false: or(why, "invalid_auth")}[token == ""])
		return
	}
	body, _ := io.ReadAll(r.Body)
	switch name {
	case "auth.test":
		w.Header().Set("x-oauth-scopes", "chat:write,channels:read")
		yes(w, map[string]any{
			"url": "https://acme.slack.com/", "team": "acme", "user": "patchbay", "team_id": teamID, "user_id": botUser, "bot_id": "B0BOT",
			"is_enterprise_install": f.answer["is_enterprise_install"] == true,
		})
	case "auth.revoke":
		f.tokens[token] = "token_revoked"
		yes(w, map[string]any{"revoked": true})
	case "conversations.list":
		f.list(w, r.URL.Query())
	case "chat.postMessage", "chat.update":
		f.post(w, name, body)
	default:
		no(w, "unknown_method")
	}
}

func yes(w io.Writer, fields map[string]any) {
	fields["ok"] = true
	_ = json.NewEncoder(w).Encode(fields)
}

func no(w io.Writer, word string) {
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": word, "needed": "chat:write"})
}

// access exchanges a code or a refresh token, each once. https://docs.slack.dev/reference/methods/oauth.v2.access
func (f *fakeSlack) access(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	switch {
	case id != "1.2":
		no(w, "invalid_client_id")
		return
	case secret != "client-secret":
		no(w, "bad_client_secret")
		return
	case r.FormValue("grant_type") == "refresh_token" && !f.refresh[r.FormValue("refresh_token")]:
		no(w, "invalid_refresh_token")
		return
	case r.FormValue("grant_type") != "refresh_token" && !f.codes[r.FormValue("code")]:
		no(w, "invalid_code")
		return
	}
	delete(f.codes, r.FormValue("code"))
	delete(f.refresh, r.FormValue("refresh_token"))
	out := map[string]any{
		"access_token": botToken, "token_type": "bot", "scope": "commands,incoming-webhook,chat:write", "bot_user_id": botUser,
		"app_id": "A0KRD7HC3", "team": map[string]string{"name": "acme", "id": teamID},
		"enterprise":  map[string]string{"name": "slack-sports", "id": "E12345678"},
		"authed_user": map[string]string{"id": "U123ABC456"},
		"incoming_webhook": map[string]string{
			"channel": "#general", "channel_id": "C0GENERAL01", "configuration_url": "https://acme.slack.com/services/B0HOOK", "url": f.URL + "/services/T/B0HOOK/filled",
		},
	}
	if f.rotates {
		f.issued++
		token, refresh := fmt.Sprintf("xoxe.xoxb-1-%d", f.issued), fmt.Sprintf("xoxe-1-%d", f.issued)
		f.tokens[token], f.refresh[refresh] = "", true
		out["access_token"], out["refresh_token"], out["expires_in"] = token, refresh, 43200
	}
	for k, v := range f.answer {
		out[k] = v
	}
	yes(w, out)
}

func (f *fakeSlack) list(w io.Writer, q url.Values) {
	f.queries = append(f.queries, q)
	from, _ := strconv.Atoi(q.Get("cursor"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	next := ""
	to := min(from+limit, len(f.channels))
	if to < len(f.channels) {
		next = strconv.Itoa(to)
	}
	page := []conversation{}
	for _, c := range f.channels[from:to] {
		if c.Archived && q.Get("exclude_archived") == "true" || c.Private && !strings.Contains(q.Get("types"), "private_channel") {
			continue
		}
		page = append(page, c)
	}
	yes(w, map[string]any{"channels": page, "response_metadata": map[string]string{"next_cursor": next}})
}

// post keeps or changes a message. https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update
func (f *fakeSlack) post(w io.Writer, name string, body []byte) {
	fields := map[string]json.RawMessage{}
	var in struct {
		Channel  string `json:"channel"`
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
	}
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(body, &in) != nil {
		no(w, "invalid_json")
		return
	}
	at := slices.IndexFunc(f.channels, func(c conversation) bool { return c.ID == in.Channel || "#"+c.Name == in.Channel })
	message := slices.IndexFunc(f.messages, func(p posting) bool {
		return at >= 0 && p.Channel == f.channels[at].ID && p.TS == or(in.TS, in.ThreadTS)
	})
	switch {
	case at < 0:
		no(w, "channel_not_found")
		return
	case f.channels[at].Archived:
		no(w, "is_archived")
		return
	case len(fields["attachments"]) == 0 && len(fields["text"]) == 0:
		no(w, "no_text")
		return
	case message < 0 && in.ThreadTS != "":
		no(w, "thread_not_found")
		return
	case name == "chat.update" && message < 0:
		no(w, "message_not_found")
		return
	}
	out := posting{Channel: f.channels[at].ID, TS: fmt.Sprintf("1503435956.%06d", len(f.messages)+1), Fields: fields}
	if name == "chat.update" {
		out.TS, out.Edits = in.TS, f.messages[message].Edits+1
		f.messages[message] = out
	} else {
		f.messages = append(f.messages, out)
	}
	yes(w, map[string]any{"channel": out.Channel, "ts": out.TS, "message": fields})
}
