package httpapi

import (
	"context"
	"net/http"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/sealing"
)

// theKeys are an installation's.
type theKeys struct{}

func (theKeys) Overview(_ context.Context, c *access.Caller) (*sealing.Overview, error) {
	return &sealing.Overview{Keys: exampleSealing.Data, File: "f", Unsealed: 3, Unreadable: 1}, c.Reach("")
}

func (theKeys) Rotate(_ context.Context, c *access.Caller) (*jobs.View, error) {
	if err := c.Reach(""); err != nil {
		return nil, err
	}
	return &exampleRotation, nil
}

// TestSecretKeys are listed without what they are, and rotated by a job.
func TestSecretKeys(t *testing.T) {
	f := newFixture(t)
	admin := f.key("", access.Admin)
	got := wantJSON[sealingAnswer](t, f.call(admin, "GET", "/v1/secrets", ""), http.StatusOK)
	if len(got.Data) != 2 || got.Data[1] != exampleSealing.Data[1] && !got.Data[1].Current || got.File != "f" || got.Unsealed != 3 || got.Unreadable != 1 || got.Next != nil {
		t.Errorf("the answer is %+v", got)
	}
	w := f.call(admin, "POST", "/v1/secrets/rotate", "")
	if j := wantJSON[jobs.View](t, w, http.StatusCreated); j.ID != exampleRotation.ID || w.Header().Get("Location") != "/v1/jobs/"+j.ID.String() {
		t.Errorf("the job is %+v, at %s", j, w.Header().Get("Location"))
	}
	for _, key := range []string{f.key("", access.Read, access.Manage), f.key("acme", access.Admin)} {
		wantError(t, f.call(key, "GET", "/v1/secrets", ""), http.StatusForbidden, patchbay.CodeForbidden)
		wantError(t, f.call(key, "POST", "/v1/secrets/rotate", ""), http.StatusForbidden, patchbay.CodeForbidden)
	}
}
