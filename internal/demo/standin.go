package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxBody bounds what a stand-in reads; it is more than an event can become.
const maxBody = 4 << 20

// standIns play the partners: one HTTP server on this machine that answers as they do.
type standIns struct {
	server *http.Server
	base   string
	dead   string
	owned  sync.WaitGroup

	mu sync.Mutex
	// stories and issues are what the trackers were given, by label.
	stories map[string]int
	issues  map[string]string
	next    int

	flaky    atomic.Int64
	verified atomic.Int64
	forged   atomic.Int64
	secrets  sync.Map // path → signing secret

	forge forge
}

// newStandIns serves on a free port of this machine.
func newStandIns(ctx context.Context) (*standIns, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the stand-ins for partners cannot be served: %w", err)
	}
	dead, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("the stand-ins for partners cannot be served: %w", err)
	}
	s := &standIns{base: "http://" + l.Addr().String(), dead: "http://" + dead.Addr().String(), stories: map[string]int{}, issues: map[string]string{}}
	_ = dead.Close() // from now on a connection to it is refused
	mux := http.NewServeMux()
	mux.HandleFunc("POST /slack/{channel}", s.slack)
	mux.HandleFunc("POST /hipchat/v2/room/{room}/notification", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /pivotal/services/v5/projects/{project}/search", s.storySearch)
	mux.HandleFunc("POST /pivotal/services/v5/projects/{project}/stories", s.storyCreate)
	mux.HandleFunc("PUT /pivotal/services/v5/projects/{project}/stories/{story}", s.storyUpdate)
	mux.HandleFunc("POST /jira/rest/api/2/search", s.issueSearch)
	mux.HandleFunc("POST /jira/rest/api/2/issue", s.issueCreate)
	mux.HandleFunc("POST /hooks/{name}", s.hook)
	mux.HandleFunc("POST /flaky/{name}", s.fails)
	s.forge.routes(mux)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.owned.Go(func() { _ = s.server.Serve(l) }) // until close
	return s, nil
}

func (s *standIns) close() {
	_ = s.server.Close()
	s.owned.Wait()
}

// sign makes a hook check signatures with a secret.
func (s *standIns) sign(path, secret string) { s.secrets.Store(path, secret) }

func (s *standIns) slack(w http.ResponseWriter, r *http.Request) {
	var message struct {
		Text        string            `json:"text"`
		Attachments []json.RawMessage `json:"attachments"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&message); err != nil || (message.Text == "" && len(message.Attachments) == 0) {
		http.Error(w, "no_text", http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "ok")
}

// storySearch answers what Pivotal Tracker answers to "label:\"RfTest7\" -state:…".
func (s *standIns) storySearch(w http.ResponseWriter, r *http.Request) {
	stories := []map[string]any{}
	s.mu.Lock()
	for label, id := range s.stories {
		if strings.Contains(r.URL.Query().Get("query"), label) {
			stories = append(stories, map[string]any{"id": id, "current_state": "unstarted", "labels": []map[string]string{{"name": label}}})
		}
	}
	s.mu.Unlock()
	answer(w, map[string]any{"stories": map[string]any{"stories": stories}})
}

func (s *standIns) storyCreate(w http.ResponseWriter, r *http.Request) {
	var story struct {
		Labels []json.RawMessage `json:"labels"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&story); err != nil {
		http.Error(w, `{"error": "invalid JSON"}`, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	if label := labelName(story.Labels); label != "" {
		s.stories[label] = 1000 + s.next
	}
	answer(w, map[string]any{"id": 1000 + s.next})
}

// labelName returns the first of a story's labels, which are names or objects.
func labelName(labels []json.RawMessage) string {
	if len(labels) == 0 {
		return ""
	}
	var name string
	var object struct{ Name string }
	if json.Unmarshal(labels[0], &name) == nil {
		return name
	}
	if json.Unmarshal(labels[0], &object) == nil {
		return object.Name
	}
	return ""
}

func (s *standIns) storyUpdate(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]any{"id": json.Number(r.PathValue("story"))})
}

func (s *standIns) issueSearch(w http.ResponseWriter, r *http.Request) {
	var query struct {
		JQL string `json:"jql"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&query); err != nil {
		http.Error(w, `{"errorMessages": ["invalid JSON"]}`, http.StatusBadRequest)
		return
	}
	issues := []map[string]any{}
	s.mu.Lock()
	for label, key := range s.issues {
		if strings.Contains(query.JQL, `"`+label+`"`) {
			issues = append(issues, map[string]any{"key": key, "fields": map[string]any{"labels": []string{label}}})
		}
	}
	s.mu.Unlock()
	answer(w, map[string]any{"issues": issues})
}

func (s *standIns) issueCreate(w http.ResponseWriter, r *http.Request) {
	var issue struct {
		Fields struct {
			Labels []string `json:"labels"`
		} `json:"fields"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&issue); err != nil {
		http.Error(w, `{"errorMessages": ["invalid JSON"]}`, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	key := fmt.Sprintf("QA-%d", s.next)
	for _, label := range issue.Fields.Labels {
		s.issues[label] = key
	}
	w.WriteHeader(http.StatusCreated)
	answer(w, map[string]any{"id": fmt.Sprint(10000 + s.next), "key": key})
}

// hook is a receiver of signed webhooks that believes nothing it cannot verify.
func (s *standIns) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	secret, ok := s.secrets.Load(r.URL.Path)
	if ok && !verified(r.Header, body, secret.(string), time.Now()) {
		s.forged.Add(1)
		http.Error(w, "the signature is not valid", http.StatusUnauthorized)
		return
	}
	if ok {
		s.verified.Add(1)
	}
	fmt.Fprint(w, "thanks")
}

// tolerance is how far the clocks of sender and receiver may be apart, as Standard Webhooks recommends.
const tolerance = 5 * time.Minute

// verified checks a request by Standard Webhooks, as a receiver does that has nothing but the secret.
func verified(h http.Header, body []byte, secret string, now time.Time) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	var sent int64
	if _, err := fmt.Sscan(h.Get("webhook-timestamp"), &sent); err != nil || now.Sub(time.Unix(sent, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", h.Get("webhook-id"), sent)
	mac.Write(body)
	for signature := range strings.FieldsSeq(h.Get("webhook-signature")) {
		given, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
		if err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return true
		}
	}
	return false
}

// fails answers two of three requests with an error.
func (s *standIns) fails(w http.ResponseWriter, r *http.Request) {
	if s.flaky.Add(1)%3 != 0 {
		http.Error(w, "upstream timed out", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprint(w, "finally")
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a partner whose answer is not read is not our concern
}
