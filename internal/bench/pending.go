package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
)

// underWay is how many deliveries every link that hangs has from the start.
const underWay = 4

// hangingHead is the time in which the links that hang get their first deliveries.
const hangingHead = 4 * time.Second

// hangingScope is where the events of a link that hangs happen.
func hangingScope(i int) patchbay.Scope { return patchbay.Scope(fmt.Sprintf("bench/hang/%d", i)) }

// measurePending makes an installation with many deliveries that wait, stops it, starts it again, reads what is due,
// and lets them go.
func (b *bench) measurePending(ctx context.Context) error {
	dir, err := b.directory()
	if err != nil {
		return err
	}
	t, err := b.serve(ctx, dir, "")
	if err != nil {
		return err
	}
	links, most, err := b.fill(ctx, t)
	if stopped := t.part.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	if err := b.claim(ctx, "claim", dir, ""); err != nil {
		return err
	}
	return b.restart(ctx, dir, t.token, links, most)
}

// claim reads what is due in a store that nobody else has open, in a process of its own.
func (b *bench) claim(ctx context.Context, row, dir, database string) error {
	cmd := b.o.Command(RoleClaim, "--data", dir)
	if database != "" {
		cmd.Env = append(cmd.Environ(), DatabaseVariable+"="+database)
	}
	claim, err := start(ctx, cmd)
	if err != nil {
		return err
	}
	if err := claim.stop(); err != nil {
		return err
	}
	if c := claim.Claim; c != nil {
		b.rows[row].add(c.Median.Seconds() * 1e3)
		b.rows[row].Note = fmt.Sprintf("%d waiting; worst of %d batches %.1f ms", c.Waiting, c.Batches, c.Worst.Seconds()*1e3)
		b.o.Progress("claim: %s for %d of %d", c.Median, c.Batch, c.Waiting)
	}
	return nil
}

// fill makes deliveries that wait: every event goes to links that are paused.
func (b *bench) fill(ctx context.Context, t *target) (links []patchbay.LinkID, most int64, err error) {
	_, links, err = prepare(ctx, t.api, pendingLinks, pendingLinks, b.sink.hit)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range links {
		if _, err := t.api.PauseLink(ctx, id); err != nil {
			return nil, 0, err
		}
	}
	watch := t.part.watchRSS(ctx)
	defer func() { most = watch() }()
	b.o.Progress("making %d deliveries that wait", b.size.pending)
	p := newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), fmt.Sprintf("p%d", time.Now().UnixNano())))
	began := time.Now()
	if err := p.closed(ctx, 64, b.size.pending/pendingLinks); err != nil {
		return nil, 0, err
	}
	b.o.Progress("made in %s", time.Since(began).Round(time.Second))
	return links, 0, ctx.Err()
}

// restart starts an installation in which deliveries wait, and lets them go for a while.
func (b *bench) restart(ctx context.Context, dir, key string, links []patchbay.LinkID, most int64) error {
	if err := b.sink.reset(ctx, pendingLinks, ""); err != nil {
		return err
	}
	began := time.Now()
	t, err := b.serve(ctx, dir, key)
	if err != nil {
		return err
	}
	defer t.part.kill()
	if err := t.api.Ready(ctx); err != nil {
		return err
	}
	b.rows["start-pending"].add(time.Since(began).Seconds())
	b.rows["start-pending"].Note = fmt.Sprintf("%d pending", b.size.pending)
	watch := t.part.watchRSS(ctx)
	for _, id := range links {
		if _, err := t.api.ResumeLink(ctx, id); err != nil {
			watch()
			return err
		}
	}
	err = wait(ctx, 5*time.Second)
	draining := watch()
	r, failed := b.sink.report(ctx)
	if err == nil {
		err = failed
	}
	b.memory("memory-pending", max(most, draining))
	b.rows["memory-pending"].Note = fmt.Sprintf("%d pending; %d went out in the 5 s after the links were resumed", b.size.pending, r.Distinct)
	return err
}

// measureNeighbours measures a healthy link alone, and then beside links that never answer.
func (b *bench) measureNeighbours(ctx context.Context) error {
	t, _, secret, _, err := b.installation(ctx, 1)
	if err != nil {
		return err
	}
	defer t.part.kill() // a stop in order would wait for what hangs
	if err := b.hang(ctx, t.api); err != nil {
		return err
	}
	// First everything alone: what hangs goes on hanging after it was measured.
	alone, err := b.healthy(ctx, t, secret)
	if err != nil {
		return err
	}
	busy, cancel := context.WithCancel(ctx)
	stop := b.keepHanging(busy, t)
	defer func() {
		cancel()
		stop()
	}()
	if err := wait(ctx, hangingHead); err != nil {
		return err
	}
	beside, err := b.healthy(ctx, t, secret)
	if err != nil {
		return err
	}
	for _, p99 := range beside {
		b.rows["neighbours"].add(p99 / median(alone))
	}
	b.rows["neighbours"].Note = fmt.Sprintf("%.1f ms beside, %.1f ms alone", median(beside), median(alone))
	b.o.Progress("neighbours: p99 %.1f ms beside %d hanging links, %.1f ms alone", median(beside), hangingLinks, median(alone))
	return nil
}

// healthy measures the healthy link's p99, in milliseconds, once for every run.
func (b *bench) healthy(ctx context.Context, t *target, secret string) ([]float64, error) {
	p99 := make([]float64, 0, b.o.Runs)
	for range b.o.Runs {
		r, err := b.openPhase(ctx, t, 1, b.size.hanging, secret)
		if err != nil {
			return nil, err
		}
		p99 = append(p99, r.P99.Seconds()*1e3)
	}
	return p99, nil
}

// hang makes the links that never answer, each to an address of its own.
func (b *bench) hang(ctx context.Context, api *client.Client) error {
	var addresses []string
	if err := b.sink.call(ctx, "/hang", url.Values{"count": {strconv.Itoa(hangingLinks)}}, &addresses); err != nil {
		return err
	}
	b.o.Progress("making %d links that hang", hangingLinks)
	key := "webhook"
	for i, address := range addresses {
		settings, err := json.Marshal(map[string]string{"url": "http://" + address + "/"})
		if err != nil {
			return err
		}
		name, scope := fmt.Sprintf("bench hanging %d", i), hangingScope(i)
		if _, err := api.CreateLink(ctx, &client.LinkInput{Integration: &key, Name: &name, Scope: &scope, Events: []patchbay.Pattern{eventType}, Settings: settings}); err != nil {
			return err
		}
	}
	return nil
}

// keepHanging gives every link that hangs some deliveries, and then all of them together as many as the healthy link
// gets, until ctx is done. It returns what waits for it to end.
func (b *bench) keepHanging(ctx context.Context, t *target) (wait func()) {
	var owned sync.WaitGroup
	templates := make([]*template, hangingLinks)
	for i := range templates {
		templates[i] = newTemplate(t.addr, t.token, string(hangingScope(i)), fmt.Sprintf("h%d", time.Now().UnixNano()))
	}
	const connections = 8
	for first := range connections {
		owned.Go(func() {
			p := newPublisher(t.addresses(), templates[first])
			c, err := p.dial(ctx)
			if err != nil {
				return
			}
			defer c.Close()
			for i := first; i < underWay*hangingLinks && ctx.Err() == nil; i += connections {
				c.template = templates[i%hangingLinks]
				if p.publish(c, time.Now()) != nil {
					return
				}
			}
			tick := time.NewTicker(connections * time.Second / latencyRate)
			defer tick.Stop()
			for i := first; ctx.Err() == nil; i += connections {
				select {
				case <-ctx.Done():
				case <-tick.C:
					c.template = templates[i%hangingLinks]
					if p.publish(c, time.Now()) != nil {
						return
					}
				}
			}
		})
	}
	return owned.Wait
}
