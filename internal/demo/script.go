package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// scene is a kind of event that the demo plays.
type scene struct {
	// eventType is looked up in the catalog, whose example is what vary begins with.
	eventType string
	// system is which of the four systems says it.
	system system
	// often says how often it is played, relative to the others.
	often int
	// vary makes one event of the example.
	vary func(w *world, payload map[string]any) place
}

// place is where an event happens, and who did it.
type place struct {
	scope patchbay.Scope
	also  []patchbay.Scope
	actor string
}

// system is one of the four systems whose events are played.
type system int

const (
	rainforest system = iota
	rhodecode
	keyclic
	idonethis
)

// world is who and what the events are about. It remembers, so that a pull request is opened before it is merged.
type world struct {
	random *rand.Rand
	now    func() time.Time

	run, story, pull int
	reports          []string
}

var (
	people = []string{"maria", "jonas", "amara", "kenji", "lucia", "tomasz"}
	names  = map[string]string{"maria": "Maria Santos", "jonas": "Jonas Weber", "amara": "Amara Okafor", "kenji": "Kenji Sato",
		"lucia": "Lucía Peña", "tomasz": "Tomasz Zieliński"}
	suites       = []string{"Smoke tests", "Checkout flow", "Sign-up on mobile", "Nightly regression", "Search & filters", "Invoices"}
	failedTests  = []string{"Log in with a wrong password", "Pay with an expired card", "Change the delivery address", "Export to CSV"}
	browsers     = []string{"Chrome 142 on Windows 11", "Safari 19 on macOS", "Firefox 145 on Linux"}
	environments = []string{"staging", "production", "preview-412"}
	errorReasons = []string{"The start page did not answer", "The tester pool is empty", "The login of the test account failed"}
	repos        = []string{"web", "api", "infra"}
	commits      = []string{"Fix the rounding of totals", "Cache the catalog for an hour", "Speed up the search by half", "Update dependencies",
		"Add a test for empty carts", "Remove the old importer"}
	pulls   = []string{"Dark mode for the dashboard", "Retry failed uploads", "Rate limits per tenant", "Faster cold start"}
	reports = []string{"Pothole in Elm Street", "Broken lamp at the station", "Overflowing bin in the park", "Graffiti on the library"}
	dones   = []string{"Shipped the new onboarding e-mail", "Talked to five customers about billing", "Fixed the flaky deploy",
		"Reviewed the security audit", "Hired a designer 🎉", "Wrote the post-mortem of Tuesday"}
)

// script is everything that is played.
func script() []scene {
	return []scene{
		{"run_completion", rainforest, 5, (*world).runCompletion},
		{"run_test_failure", rainforest, 3, (*world).testFailure},
		{"run_error", rainforest, 1, (*world).runError},
		{"run_webhook_timeout", rainforest, 1, (*world).webhookTimeout},
		{"repo.push", rhodecode, 6, (*world).push},
		{"pullrequest.create", rhodecode, 2, (*world).pullCreate},
		{"pullrequest.merge", rhodecode, 2, (*world).pullMerge},
		{"reportCreated", keyclic, 3, (*world).reportCreated},
		{"reportStateChanged", keyclic, 3, (*world).reportChanged},
		{"operationCreated", keyclic, 2, (*world).operation},
		{"entry.created", idonethis, 4, (*world).entry},
	}
}

func pick[T any](w *world, list []T) T { return list[w.random.IntN(len(list))] }

// put sets a value at a path of keys joined by dots; a number is a place in a list that exists.
func put(payload map[string]any, path string, value any) {
	keys := strings.Split(path, ".")
	var at any = payload
	for i, key := range keys {
		last := i == len(keys)-1
		switch x := at.(type) {
		case map[string]any:
			if last {
				x[key] = value
				return
			}
			if x[key] == nil {
				x[key] = map[string]any{}
			}
			at = x[key]
		case []any:
			var n int
			if _, err := fmt.Sscan(key, &n); err != nil || n >= len(x) {
				return
			}
			if last {
				x[n] = value
				return
			}
			at = x[n]
		default:
			return
		}
	}
}

func (w *world) newRun(p map[string]any) place {
	w.run++
	put(p, "run.id", w.run)
	put(p, "run.description", pick(w, suites))
	put(p, "run.environment", map[string]any{"name": pick(w, environments)})
	put(p, "frontend_url", fmt.Sprintf("https://app.rainforest.example/runs/%d", w.run))
	return place{scope: "acme/qa"}
}

func (w *world) runCompletion(p map[string]any) place {
	at := w.newRun(p)
	total := 10 + w.random.IntN(40)
	failed := max(0, w.random.IntN(7)-3)
	result := "passed"
	if failed > 0 {
		result = "failed"
	}
	for key, value := range map[string]any{
		"result": result, "time_taken": 300 + w.random.IntN(2400), "total_tests": total, "total_passed_tests": total - failed,
		"total_failed_tests": failed, "total_no_result_tests": 0,
	} {
		put(p, "run."+key, value)
	}
	return at
}

func (w *world) testFailure(p map[string]any) place {
	at := w.newRun(p)
	test := w.random.IntN(len(failedTests))
	put(p, "failed_test.id", 40+test)
	put(p, "failed_test.title", failedTests[test])
	put(p, "browser.description", pick(w, browsers))
	return at
}

func (w *world) runError(p map[string]any) place {
	at := w.newRun(p)
	put(p, "run.error_reason", pick(w, errorReasons))
	return at
}

func (w *world) webhookTimeout(p map[string]any) place { return w.newRun(p) }

func (w *world) repo(p map[string]any) place {
	repo, who := pick(w, repos), pick(w, people)
	put(p, "repo.repo_name", repo)
	put(p, "repo.url", "https://code.globex.example/"+repo)
	put(p, "actor.username", who)
	return place{scope: patchbay.Scope("globex/repos/" + repo), actor: names[who]}
}

func (w *world) hash() string {
	return fmt.Sprintf("%016x%016x%08x", w.random.Uint64(), w.random.Uint64(), w.random.Uint32())
}

func (w *world) push(p map[string]any) place {
	at := w.repo(p)
	hash := w.hash()
	put(p, "push.commits.0.raw_id", hash)
	put(p, "push.commits.0.short_id", hash[:12])
	put(p, "push.commits.0.message", pick(w, commits))
	put(p, "push.commits.0.author", at.actor)
	return at
}

func (w *world) pullCreate(p map[string]any) place {
	at := w.repo(p)
	w.pull++
	w.pullRequest(p, w.pull)
	put(p, "pullrequest.status", "new")
	return at
}

func (w *world) pullMerge(p map[string]any) place {
	at := w.repo(p)
	w.pullRequest(p, max(1, w.pull-w.random.IntN(2)))
	put(p, "pullrequest.status", "closed")
	return at
}

func (w *world) pullRequest(p map[string]any, n int) {
	put(p, "pullrequest.pull_request_id", n)
	put(p, "pullrequest.title", pulls[n%len(pulls)])
}

func (w *world) reportCreated(p map[string]any) place {
	w.reports = append(w.reports, w.uuid())
	return w.report(p, w.reports[len(w.reports)-1], "NEW")
}

func (w *world) reportChanged(p map[string]any) place {
	if len(w.reports) == 0 {
		w.reports = append(w.reports, w.uuid())
	}
	return w.report(p, pick(w, w.reports), pick(w, []string{"ACCEPTED", "IN_PROGRESS", "RESOLVED", "CLOSED"}))
}

func (w *world) report(p map[string]any, id, state string) place {
	put(p, "id", id)
	put(p, "state", state)
	put(p, "description", reports[int(id[0])%len(reports)])
	w.stamp(p)
	return place{scope: "springfield/reports"}
}

func (w *world) operation(p map[string]any) place {
	put(p, "id", w.uuid())
	w.stamp(p)
	return place{scope: "springfield/operations"}
}

func (w *world) stamp(p map[string]any) {
	now := w.now().UTC().Format(time.RFC3339)
	put(p, "createdAt", now)
	put(p, "updatedAt", now)
}

func (w *world) uuid() string {
	h := w.hash()
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:32])
}

func (w *world) entry(p map[string]any) place {
	who := pick(w, people)
	w.story++
	put(p, "text", pick(w, dones))
	put(p, "occurred_on", w.now().Format(time.DateOnly))
	put(p, "author.name", names[who])
	put(p, "author.email", who+"@initech.example")
	put(p, "author.external_id", who)
	put(p, "external_id", fmt.Sprint(w.story))
	return place{scope: "initech/teams/eng", also: []patchbay.Scope{patchbay.Scope("initech/users/" + who)}, actor: names[who]}
}

// play makes one event of a catalog's example.
func (w *world) play(s *scene, example json.RawMessage) (place, json.RawMessage, error) {
	payload := map[string]any{}
	if err := json.Unmarshal(example, &payload); err != nil {
		return place{}, nil, fmt.Errorf("the catalog's example of %s cannot be read: %w", s.eventType, err)
	}
	at := s.vary(w, payload)
	body, err := json.Marshal(payload)
	return at, body, err
}

// next picks a scene, the frequent ones more often.
func (w *world) next(scenes []scene) *scene {
	total := 0
	for i := range scenes {
		total += scenes[i].often
	}
	n := w.random.IntN(total)
	for i := range scenes {
		if n -= scenes[i].often; n < 0 {
			return &scenes[i]
		}
	}
	return &scenes[0]
}
