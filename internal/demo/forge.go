package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// forge plays GitHub as far as a link that receives needs it: it keeps the webhook that is registered, and calls it when
// somebody pushes.
type forge struct {
	mu     sync.Mutex
	url    string
	secret string
	pushed int
}

// repository is the one that the demo's people push to.
const repository = "initech/web"

func (f *forge) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /github/repos/initech/web/hooks", func(w http.ResponseWriter, _ *http.Request) { answer(w, []any{}) })
	mux.HandleFunc("POST /github/repos/initech/web/hooks", f.register)
	mux.HandleFunc("DELETE /github/repos/initech/web/hooks/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
}

func (f *forge) register(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Config struct{ URL, Secret string } `json:"config"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&in); err != nil || in.Config.URL == "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
		answer(w, map[string]any{"message": "Validation Failed"})
		return
	}
	f.mu.Lock()
	f.url, f.secret = in.Config.URL, in.Config.Secret
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	answer(w, map[string]any{"id": 1, "active": true})
}

// push calls the webhook as GitHub does when somebody pushes to the default branch.
func (f *forge) push(ctx context.Context, who string, messages []string, at time.Time) error {
	f.mu.Lock()
	url, secret := f.url, f.secret
	f.pushed++
	n := f.pushed
	f.mu.Unlock()
	person := map[string]any{"name": names[who], "username": who, "email": who + "@initech.example"}
	commits := make([]any, len(messages))
	for i, m := range messages {
		sum := sha256.Sum256([]byte(fmt.Sprint(n, i, m)))
		id := hex.EncodeToString(sum[:20])
		commits[i] = map[string]any{"id": id, "message": m, "timestamp": at.UTC().Format(time.RFC3339), "distinct": true, "author": person, "committer": person,
			"url": "https://github.com/" + repository + "/commit/" + id, "added": []any{}, "removed": []any{}, "modified": []any{"main.go"}}
	}
	body, err := json.Marshal(map[string]any{
		"ref": "refs/heads/main", "created": false, "deleted": false, "forced": false, "compare": "https://github.com/" + repository + "/compare",
		"repository": map[string]any{"id": 7, "name": "web", "full_name": repository, "html_url": "https://github.com/" + repository, "default_branch": "main"},
		"pusher":     map[string]any{"name": who}, "sender": map[string]any{"id": 100 + len(who), "login": who, "type": "User"},
		"commits": commits, "head_commit": commits[len(commits)-1],
	})
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook of the demo's repository was answered %d", resp.StatusCode)
	}
	return nil
}
