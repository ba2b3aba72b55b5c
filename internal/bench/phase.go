package bench

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// phase is what one measurement came to.
type phase struct {
	// rate is deliveries a second, from the first event to the last delivery.
	rate float64
	// cpu and mallocs are per event, batch is events per transaction of the store.
	cpu, mallocs, batch float64
	report              Report
	accepted            int64
	lost                int64
}

// closedPhase publishes with so many publishers for a time and waits until everything has arrived.
func (b *bench) closedPhase(ctx context.Context, t *target, publishers, links int, secret string) (phase, error) {
	b.run++
	if err := b.sink.reset(ctx, links, ""); err != nil {
		return phase{}, err
	}
	p := newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), fmt.Sprintf("b%d-%d", time.Now().UnixNano(), b.run)))
	warm, cancel := context.WithTimeout(ctx, warmUp)
	err := p.closed(warm, publishers, 0)
	cancel()
	if err != nil {
		return phase{}, err
	}
	t.events += p.accepted.Load()
	if _, err := b.sink.await(ctx, p.accepted.Load()*int64(links)); err != nil {
		return phase{}, err
	}
	if err := b.sink.reset(ctx, links, secret); err != nil {
		return phase{}, err
	}
	p = newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), fmt.Sprintf("m%d-%d", time.Now().UnixNano(), b.run)))
	before, err := t.figures(ctx)
	if err != nil {
		return phase{}, err
	}
	began := time.Now()
	measured, cancel := context.WithTimeout(ctx, b.size.phase)
	err = p.closed(measured, publishers, 0)
	cancel()
	if err != nil {
		return phase{}, err
	}
	return b.finish(ctx, t, p, before, began, links)
}

// finish waits for what is under way and sums up.
func (b *bench) finish(ctx context.Context, t *target, p *publisher, before figures, began time.Time, links int) (phase, error) {
	out := phase{accepted: p.accepted.Load()}
	t.events += out.accepted
	want := out.accepted * int64(links)
	var err error
	if out.report, err = b.sink.await(ctx, want); err != nil {
		return out, err
	}
	after, err := b.recorded(ctx, t, before, want)
	if err != nil {
		return out, err
	}
	if out.accepted == 0 || out.report.Distinct == 0 {
		return out, fmt.Errorf("nothing arrived: %d events were accepted, %d refused", out.accepted, p.refused.Load())
	}
	out.rate = float64(out.report.Distinct) / time.Unix(0, out.report.Last).Sub(began).Seconds()
	out.cpu = float64((after.cpu - before.cpu).Microseconds()) / float64(out.accepted)
	out.mallocs = (after.mallocs - before.mallocs) / float64(out.accepted)
	if commits := after.commits - before.commits; commits > 0 {
		out.batch = float64(out.accepted) / commits
	}
	out.lost = want - out.report.Distinct
	b.note(out)
	return out, nil
}

// recorded waits until the installation has recorded as many deliveries as arrived.
func (b *bench) recorded(ctx context.Context, t *target, before figures, want int64) (figures, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(5 * time.Second)
	for {
		now, err := t.figures(ctx)
		if err != nil || !t.records || int64(now.delivered-before.delivered) >= want || time.Now().After(deadline) {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-tick.C:
		}
	}
}

// openPhase publishes at latencyRate for a time and waits until everything has arrived over every link.
func (b *bench) openPhase(ctx context.Context, t *target, links int, d time.Duration, secret string) (Report, error) {
	b.run++
	if err := b.sink.reset(ctx, links, ""); err != nil {
		return Report{}, err
	}
	name := fmt.Sprintf("o%d-%d", time.Now().UnixNano(), b.run)
	warm, cancel := context.WithTimeout(ctx, warmUp)
	w := newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), name+"w"))
	err := w.open(warm, latencyRate)
	cancel()
	if err != nil {
		return Report{}, err
	}
	if _, err := b.sink.await(ctx, w.accepted.Load()*int64(links)); err != nil {
		return Report{}, err
	}
	if err := b.sink.reset(ctx, links, secret); err != nil {
		return Report{}, err
	}
	p := newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), name))
	measured, cancel := context.WithTimeout(ctx, d)
	err = p.open(measured, latencyRate)
	cancel()
	if err != nil {
		return Report{}, err
	}
	want := p.accepted.Load() * int64(links)
	r, err := b.sink.await(ctx, want)
	if err != nil {
		return r, err
	}
	b.note(phase{report: r, accepted: p.accepted.Load(), lost: want - r.Distinct})
	return r, nil
}

func hostPort(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	if u.Port() == "" {
		return u.Hostname() + ":80"
	}
	return u.Host
}
