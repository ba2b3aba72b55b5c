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

// hangScope is where the events of the links that hang happen.
const hangScope = patchbay.Scope("bench/hang")

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
	claim, err := start(ctx, b.o.Command(RoleClaim, "--data", dir))
	if err != nil {
		return err
	}
	if err := claim.stop(); err != nil {
		return err
	}
	if c := claim.Claim; c != nil {
		b.rows["claim"].add(c.Median.Seconds() * 1e3)
		b.rows["claim"].Note = fmt.Sprintf("%d waiting; worst of %d batches %.1f ms", c.Waiting, c.Batches, c.Worst.Seconds()*1e3)
		b.o.Progress("claim: %s for %d of %d", c.Median, c.Batch, c.Waiting)
	}
	return b.restart(ctx, dir, t.token, links, most)
}

// fill makes deliveries that wait: every event goes to links that are paused.
func (b *bench) fill(ctx context.Context, t *target) (links []patchbay.LinkID, most int64, err error) {
	_, links, err = prepare(ctx, t.api, benchScope, pendingLinks, pendingLinks, b.sink.hit)
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
	p := newPublisher(t.addr, newTemplate(t.addr, t.token, string(benchScope), fmt.Sprintf("p%d", time.Now().UnixNano())))
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
	for range b.o.Runs {
		alone, err := b.openPhase(ctx, t, string(benchScope), b.size.hanging, secret)
		if err != nil {
			return err
		}
		beside, err := b.beside(ctx, t, secret)
		if err != nil {
			return err
		}
		b.rows["neighbours"].add(float64(beside.P99) / float64(alone.P99))
		b.rows["neighbours"].Note = fmt.Sprintf("%.1f ms beside, %.1f ms alone", beside.P99.Seconds()*1e3, alone.P99.Seconds()*1e3)
		b.o.Progress("neighbours: p99 %s beside %d hanging links, %s alone", beside.P99, hangingLinks, alone.P99)
	}
	return nil
}

// hang makes the links that never answer, each to an address of its own.
func (b *bench) hang(ctx context.Context, api *client.Client) error {
	var addresses []string
	if err := b.sink.call(ctx, "/hang", url.Values{"count": {strconv.Itoa(hangingLinks)}}, &addresses); err != nil {
		return err
	}
	b.o.Progress("making %d links that hang", hangingLinks)
	key, scope := "webhook", hangScope
	for i, address := range addresses {
		settings, err := json.Marshal(map[string]string{"url": "http://" + address + "/"})
		if err != nil {
			return err
		}
		name := fmt.Sprintf("bench hanging %d", i)
		if _, err := api.CreateLink(ctx, &client.LinkInput{Integration: &key, Name: &name, Scope: &scope, Events: []patchbay.Pattern{eventType}, Settings: settings}); err != nil {
			return err
		}
	}
	return nil
}

// beside measures the healthy link while the others hang: each has deliveries under way and gets a further one every
// second.
func (b *bench) beside(ctx context.Context, t *target, secret string) (Report, error) {
	busy, cancel := context.WithCancel(ctx)
	stop := b.keepHanging(busy, t)
	defer func() {
		cancel()
		stop()
	}()
	if err := wait(ctx, 2*time.Second); err != nil {
		return Report{}, err
	}
	return b.openPhase(ctx, t, string(benchScope), b.size.hanging, secret)
}

// keepHanging publishes to the links that hang until ctx is done, and returns what waits for it to end.
func (b *bench) keepHanging(ctx context.Context, t *target) (wait func()) {
	p := newPublisher(t.addr, newTemplate(t.addr, t.token, string(hangScope), fmt.Sprintf("h%d", time.Now().UnixNano())))
	var owned sync.WaitGroup
	owned.Go(func() {
		c, err := p.dial(ctx)
		if err != nil {
			return
		}
		defer c.Close()
		for range 4 { // so many deliveries are under way at each from the start
			if p.publish(c, time.Now()) != nil {
				return
			}
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
				if p.publish(c, time.Now()) != nil {
					return
				}
			}
		}
	})
	return owned.Wait
}
