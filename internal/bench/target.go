package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
)

// target is what events are published to: an installation or the baseline.
type target struct {
	addr, token string
	api         *client.Client
	// part is the process, nil for an installation that runs elsewhere.
	part *part
	// others are further nodes at the same database; publishers spread over all.
	others []*target
	// records says that it counts what it delivered.
	records bool
	// events counts what it has accepted.
	events int64
}

// figures are what a process says of itself.
type figures struct {
	cpu       time.Duration
	mallocs   float64
	delivered float64
	gcPercent int
	// commits counts the transactions of the store.
	commits float64
}

// figures adds up what the nodes say.
func (t *target) figures(ctx context.Context) (figures, error) {
	sum, err := t.own(ctx)
	for _, other := range t.others {
		f, failed := other.own(ctx)
		if failed != nil {
			err = failed
		}
		sum.cpu += f.cpu
		sum.mallocs += f.mallocs
		sum.delivered += f.delivered
		sum.commits += f.commits
	}
	return sum, err
}

// addresses are where the nodes serve.
func (t *target) addresses() []string {
	all := make([]string, 0, 1+len(t.others))
	all = append(all, t.addr)
	for _, other := range t.others {
		all = append(all, other.addr)
	}
	return all
}

func (t *target) own(ctx context.Context) (figures, error) {
	text, err := t.api.Metrics(ctx)
	if err != nil {
		return figures{}, err
	}
	m := parseMetrics(text)
	return figures{
		cpu:       time.Duration(m["process_cpu_seconds_total"] * float64(time.Second)),
		mallocs:   m["go_memstats_mallocs_total"],
		delivered: m[`patchbay_deliveries_total{state="succeeded"}`],
		gcPercent: int(m["go_gc_gogc_percent"]),
		commits:   m["patchbay_store_commit_seconds_count"],
	}, nil
}

// parseMetrics reads Prometheus' text format.
func parseMetrics(text string) map[string]float64 {
	out := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out
}

// sinkAPI talks to the sink.
type sinkAPI struct {
	part *part
	http http.Client
}

func (s *sinkAPI) call(ctx context.Context, path string, q url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.part.Addr+path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("the sink does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the sink answered %s to %s", resp.Status, path)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (s *sinkAPI) reset(ctx context.Context, links int, secret string) error {
	var nothing any
	return s.call(ctx, "/reset", url.Values{"links": {strconv.Itoa(links)}, "secret": {secret}}, &nothing)
}

func (s *sinkAPI) report(ctx context.Context) (Report, error) {
	var r Report
	err := s.call(ctx, "/report", nil, &r)
	return r, err
}

// hit is the address of a link's deliveries.
func (s *sinkAPI) hit(link int) string { return s.way(hitWay, link) }

func (s *sinkAPI) way(way string, link int) string {
	return fmt.Sprintf("http://%s/%s/%d", s.part.Addr, way, link)
}

// patience is how long the sink may see nothing new before what is missing counts as lost.
const patience = 15 * time.Second

// await waits until the sink has seen so many deliveries.
func (s *sinkAPI) await(ctx context.Context, want int64) (Report, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		r, err := s.report(ctx)
		if err != nil || r.Distinct >= want {
			return r, err
		}
		if r.Distinct != last {
			last, since = r.Distinct, time.Now()
		}
		if time.Since(since) > patience {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-tick.C:
		}
	}
}

// prepare puts the event type and the links of a measurement into an installation. The first `matching` links match
// what the template publishes, with a filter; the others look like those of other customers and never match. It
// returns the secret with which the first signs.
func prepare(ctx context.Context, api *client.Client, matching, total int, address func(int) string) (secret string, made []patchbay.LinkID, err error) {
	if _, err := api.PutEventType(ctx, definition()); err != nil {
		return "", nil, fmt.Errorf("the event type that is measured cannot be added: %w", err)
	}
	for i := range total {
		in := link(benchScope, i, matching, address(min(i, matching-1)))
		l, err := api.CreateLink(ctx, in)
		if err != nil {
			return "", made, fmt.Errorf("link %d of %d cannot be made: %w", i+1, total, err)
		}
		made = append(made, l.ID)
		if i == 0 {
			secret = l.Secrets["secret"]
		}
	}
	if secret == "" {
		return "", made, errors.New("no signing secret was made for a link of the integration webhook")
	}
	return secret, made, nil
}

func link(scope patchbay.Scope, i, matching int, address string) *client.LinkInput {
	key, name := "webhook", fmt.Sprintf("bench %d", i)
	in := &client.LinkInput{Integration: &key, Name: &name, Scope: &scope, Events: []patchbay.Pattern{"bench.*"}}
	in.Settings, _ = json.Marshal(map[string]string{"url": address}) // a map of strings
	if i < matching {
		filter := "payload.status == 'paid' && payload.total > 10.0"
		in.Filter = &filter
		return in
	}
	other, exact := scope, patchbay.ReachExact
	switch i % 4 {
	case 0: // the same type elsewhere
		other = patchbay.Scope(fmt.Sprintf("%s/other-%d", scope, i))
	case 1: // another type here
		in.Events = []patchbay.Pattern{patchbay.Pattern(fmt.Sprintf("order.kind_%d", i))}
	case 2: // another customer
		other = patchbay.Scope(fmt.Sprintf("customer-%d/shop", i))
	default: // the scope above, and that alone
		other, _ = scope.Parent()
		in.Reach = &exact
	}
	in.Scope = &other
	return in
}
