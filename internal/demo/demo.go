// Package demo shows what Patchbay does without an account anywhere: it starts an installation in development mode,
// makes links to stand-ins for partners on this machine, plays events of four systems through POST /events at a human
// pace, and tells what becomes of them.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

// The rhythm, at speed 1.
const (
	// pace is the mean pause between two events.
	pace = 900 * time.Millisecond
	// summaryEvery is how often the account is summed up.
	summaryEvery = 10 * time.Second
	// pauseAt and resumeAt are when the link that is paused for a while is paused and resumed.
	pauseAt  = 8 * time.Second
	resumeAt = 24 * time.Second
	// extraEvery is how often something is shown that is no ordinary event: a repeated call, a refused one, an inline
	// one.
	extraEvery = 7 * time.Second
	// settle is how long the end waits for what is being sent.
	settle = 1500 * time.Millisecond
)

// Options say how to run the demo.
type Options struct {
	Console *console.Console
	// Start starts an installation and returns where it serves and how to stop it.
	Start func(context.Context, config.Config) (addr string, stop func() error, err error)
	// Listen is the address to serve on; when it is taken and was not asked for, a free one is used.
	Listen string
	// Data is the data directory; "" is a temporary one that is removed at the end.
	Data string
	// For ends the demo after so long; 0 is at Ctrl-C.
	For time.Duration
	// Speed is how much faster than usual events come; 0 means 1.
	Speed float64
	// Seed makes two runs alike; 0 is different every time.
	Seed uint64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Run plays until ctx is done or the time is over.
func Run(ctx context.Context, o Options) (err error) {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Seed == 0 {
		o.Seed = uint64(o.Now().UnixNano())
	}
	data, remove, err := dataDirectory(o.Data)
	if err != nil {
		return err
	}
	defer remove()
	partners, err := newStandIns(ctx)
	if err != nil {
		return err
	}
	defer partners.close()
	mail, err := newMailbox(ctx)
	if err != nil {
		return err
	}
	defer mail.close()

	c := config.Config{Dev: true, Data: data, Listen: freeAddress(ctx, o.Listen), LogLevel: "error", Grace: config.Duration(2 * time.Second),
		Integrations: config.Integrations{"email": mail.settings()}}
	addr, stop, err := o.Start(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	api, err := client.New(client.Options{Server: "http://" + addr, UserAgent: "patchbay-demo"})
	if err != nil {
		return err
	}
	defer api.Close()
	p := &player{o: o, api: api, partners: partners, mail: mail, account: newAccount(o.Console, o.Now),
		world: worldOf(o.Seed, o.Now)}
	return p.run(ctx, data)
}

// settings are what an operator would write to patchbay.yaml.
func (m *mailbox) settings() map[string]any {
	return map[string]any{"host": m.addr().IP.String(), "port": m.addr().Port, "from": "patchbay@demo.example", "encryption": "none"}
}

func dataDirectory(asked string) (dir string, remove func(), err error) {
	if asked != "" {
		return asked, func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "patchbay-demo-"); err != nil {
		return "", nil, fmt.Errorf("there is no place for the demo's data: %w; say where with --data", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// freeAddress returns the address to serve on: the default one unless it is taken.
func freeAddress(ctx context.Context, asked string) string {
	if asked != "" {
		return asked
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", config.DefaultListen)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return config.DefaultListen
}

// player plays the events and tells what becomes of them.
type player struct {
	o        Options
	api      *client.Client
	partners *standIns
	mail     *mailbox
	world    *world
	account  *account

	scenes  []scene
	catalog map[string]patchbay.EventType
	paused  patchbay.LinkID
}

func (p *player) run(ctx context.Context, data string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.o.For > 0 {
		time.AfterFunc(p.o.For, cancel)
	}
	p.account.welcome(p.api.Server(), data)
	if err := p.prepare(ctx); err != nil {
		return err
	}
	// The stream outlives the playing: what is under way then is still told.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	stream, err := p.api.Stream(watching, client.StreamFilter{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // it was only read
	var owned sync.WaitGroup
	var failed error
	owned.Go(func() {
		if err := p.account.watch(watching, p.api, stream); err != nil {
			failed = err
			cancel()
		}
	})
	err = p.play(ctx)
	stopWatching()
	_ = stream.Close()
	owned.Wait()
	p.account.goodbye(p.partners.verified.Load(), p.mail.received.Load())
	return errors.Join(err, failed)
}

// prepare looks the catalog up and makes the links.
func (p *player) prepare(ctx context.Context) error {
	p.catalog = map[string]patchbay.EventType{}
	page := client.Paging{Limit: 250}
	for more := true; more; {
		types, err := p.api.EventTypes(ctx, page)
		if err != nil {
			return err
		}
		for _, t := range types.Data {
			p.catalog[t.Key] = t
		}
		page.Cursor = types.Next
		more = types.Next != ""
	}
	for _, s := range script() {
		if _, known := p.catalog[s.eventType]; !known {
			return fmt.Errorf("the catalog does not have the event type %q that the demo plays", s.eventType)
		}
		p.scenes = append(p.scenes, s)
	}
	for _, r := range p.partners.cast() {
		link, err := p.partners.make(ctx, p.api, &r)
		if err != nil {
			return err
		}
		if r.paused {
			p.paused = link.ID
		}
		p.account.introduce(&r, link)
	}
	p.account.begin()
	return nil
}

// play publishes events until ctx is done, and then lets what is under way end.
func (p *player) play(ctx context.Context) error {
	speed := func(d time.Duration) time.Duration { return time.Duration(float64(d) / p.o.Speed) }
	next := time.NewTimer(speed(pace))
	summary := time.NewTicker(summaryEvery)
	extra := time.NewTicker(speed(extraEvery))
	pause, resume := time.NewTimer(speed(pauseAt)), time.NewTimer(speed(resumeAt))
	defer func() {
		next.Stop()
		summary.Stop()
		extra.Stop()
		pause.Stop()
		resume.Stop()
	}()
	for extras := 0; ; {
		var err error
		select {
		case <-ctx.Done():
			timer := time.NewTimer(settle)
			defer timer.Stop()
			<-timer.C
			return nil
		case <-next.C:
			err = p.publish(ctx)
			// Between a third and the double of the mean, so that it does not look like a machine.
			next.Reset(speed(pace/3 + time.Duration(p.world.random.Int64N(int64(pace*4/3)))))
		case <-extra.C:
			err = p.extra(ctx, extras)
			extras++
		case <-pause.C:
			_, err = p.api.PauseLink(ctx, p.paused)
			p.account.say(console.Blue, "‖", "\"Nightly import\" is paused: what matches it is held")
		case <-resume.C:
			p.account.say(console.Blue, "▸", "\"Nightly import\" is resumed: what was held goes out")
			_, err = p.api.ResumeLink(ctx, p.paused)
		case <-summary.C:
			p.account.summary(ctx, p.api)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// event makes the next event.
func (p *player) event() (*client.NewEvent, error) {
	return (&Story{p.world, p.scenes, func(eventType string) json.RawMessage { return p.catalog[eventType].Example }}).Next()
}

func (p *player) publish(ctx context.Context) error {
	e, err := p.event()
	if err == nil {
		_, err = p.api.Publish(ctx, e)
	}
	return err
}

// extra shows one of the things that are not ordinary.
func (p *player) extra(ctx context.Context, n int) error {
	switch n % 4 {
	case 0:
		return p.pushed(ctx)
	case 1:
		return p.twice(ctx)
	case 2:
		return p.refused(ctx)
	}
	return p.inline(ctx)
}

// pushed has somebody push to a repository that a link receives from.
func (p *player) pushed(ctx context.Context) error {
	who := people[p.world.random.IntN(len(people))]
	first := p.world.random.IntN(len(dones))
	p.account.say(console.Magenta, "◂", "GitHub calls: "+who+" pushed to "+repository)
	return p.partners.forge.push(ctx, who, []string{dones[first], dones[(first+1)%len(dones)]}, p.o.Now())
}

// twice publishes an event twice under one id, as a host does that did not see the first answer.
func (p *player) twice(ctx context.Context) error {
	e, err := p.event()
	if err != nil {
		return err
	}
	e.ID = "demo-" + p.world.uuid()
	for range 2 {
		answer, err := p.api.Publish(ctx, e)
		if err != nil {
			return err
		}
		if answer.Replayed {
			p.account.say(console.Blue, "=", "the same call again: answered as before, nothing is sent twice")
		}
	}
	return nil
}

// refused publishes what the catalog does not allow.
func (p *player) refused(ctx context.Context) error {
	scope := patchbay.Scope("acme/qa")
	_, err := p.api.Publish(ctx, &client.NewEvent{Type: "run_completion", Scope: &scope, Payload: []byte(`{"failed_tests": []}`)})
	var answer *client.Error
	if !errors.As(err, &answer) {
		return err
	}
	p.account.say(console.Red, "✗", fmt.Sprintf("refused with %d: %s", answer.Status, answer.Message))
	return nil
}

// inline publishes an event with its integrations in the call, Rainforest's way.
func (p *player) inline(ctx context.Context) error {
	s := &p.scenes[0]
	at, payload, err := p.world.play(s, p.catalog[s.eventType].Example)
	if err != nil {
		return err
	}
	settings := []byte(`{"url": ` + strconv.Quote(p.partners.base+"/slack/inline") + `}`)
	answer, err := p.api.Publish(ctx, &client.NewEvent{Type: s.eventType, Scope: &at.scope, Payload: payload,
		Integrations: &[]client.Inline{{Key: "slack", Settings: settings}}})
	if err != nil {
		return err
	}
	for _, r := range answer.Results {
		p.account.say(console.Green, "✓", fmt.Sprintf("an inline call, with its settings: %s to %s before the answer", r.Status, r.Key))
	}
	return nil
}
