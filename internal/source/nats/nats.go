// Package nats takes events from a NATS JetStream: a durable pull consumer, whose messages are acknowledged one by one
// when their events are durable. Several nodes share the consumer. What is redelivered makes no second event.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/lifecycle"
	"github.com/patchbay/patchbay/internal/source"
)

const (
	// DefaultInFlight is how many messages are taken in at the same time; they share transactions.
	DefaultInFlight = 256
	// DefaultConsumer is the durable consumer's name.
	DefaultConsumer = "patchbay"
	// rememberFor is how long a message may come again and be known: a broker redelivers within minutes, but an
	// installation may have been stopped over a weekend.
	rememberFor = 7 * 24 * time.Hour
	// DefaultAckWait is when the broker gives a message to another node that nobody has acknowledged.
	DefaultAckWait = 30 * time.Second
	// asking bounds one question to the broker.
	asking = 10 * time.Second
	// look is how often the broker is asked what waits.
	look = 10 * time.Second
	// managed marks consumers that Patchbay made, which it may change when its settings change.
	managed, managedBy = "managed_by", "patchbay"
)

// Options describe one source.
type Options struct {
	// Name is the source's in the configuration.
	Name string
	// URL is the broker's address, or several separated by commas; it may hold a password.
	URL patchbay.Secret
	// Credentials is a file that the broker's account gave out (.creds); "" is none.
	Credentials string
	// Stream is the stream's name, Consumer the durable consumer's ("" means DefaultConsumer). The consumer is made when
	// there is none.
	Stream, Consumer string
	// Subjects select messages of the stream; none means all.
	Subjects []string
	// Type and Scope make an event's type and scope of the message's subject; the message is then the payload alone.
	// With an empty Type a message is a whole event, unless its header says otherwise.
	Type, Scope Template
	// Within bounds what the source may publish.
	Within patchbay.Scope
	// DeadLetter is the subject to which messages go that can never be accepted; "" is nowhere.
	DeadLetter string
	// InFlight is how many messages are taken in at the same time; 0 means DefaultInFlight, 1 keeps the stream's order.
	InFlight int
	// AckWait is when a consumer that is made here gives a message out again; 0 means DefaultAckWait.
	AckWait time.Duration

	Ingest source.Ingest
	// Log is where to log; nil discards.
	Log *slog.Logger
}

// Source takes messages from a stream from Start to Stop.
type Source struct {
	o     Options
	meter source.Meter
	conn  *nats.Conn

	cancel context.CancelFunc
	owned  sync.WaitGroup
	once   sync.Once
	err    error
}

// New checks the options. Nothing is connected before Start.
func New(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("source", o.Name)
	if o.Consumer == "" {
		o.Consumer = DefaultConsumer
	}
	if o.InFlight <= 0 {
		o.InFlight = DefaultInFlight
	}
	if o.AckWait <= 0 {
		o.AckWait = DefaultAckWait
	}
	if o.URL == "" || o.Stream == "" {
		return nil, fmt.Errorf("the source %s needs the url of the broker and the name of a stream", o.Name)
	}
	for _, address := range strings.Split(o.URL.Reveal(), ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		if _, err := url.Parse(address); err != nil { // which would show the password, as the client's own error does
			return nil, fmt.Errorf("the url of the source %s cannot be read: write nats://USER:PASSWORD@HOST:4222, with %%XX for what is special in a password", o.Name)
		}
	}
	if o.Credentials != "" {
		if _, err := os.Stat(o.Credentials); err != nil {
			return nil, fmt.Errorf("the credentials of the source %s cannot be read: %w", o.Name, err)
		}
	}
	return &Source{o: o}, nil
}

// Figures returns what the source has done.
func (s *Source) Figures() source.Figures { return s.meter.Figures() }

// Start begins to take messages. It does not wait for the broker, which may come later.
func (s *Source) Start(context.Context) error {
	opts := []nats.Option{
		nats.Name("patchbay " + s.o.Name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond), nats.Timeout(5 * time.Second),
		nats.PingInterval(20 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(*nats.Conn) { s.meter.Connected(true) }),
		nats.ReconnectHandler(func(*nats.Conn) {
			s.meter.Connected(true)
			s.o.Log.Info("connected to the broker again")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			s.meter.Connected(false)
			if err != nil {
				s.o.Log.Warn("the connection to the broker is lost; trying again", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.o.Log.Warn("the broker reports an error", "error", err)
		}),
	}
	if s.o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(s.o.Credentials))
	}
	conn, err := nats.Connect(s.o.URL.Reveal(), opts...)
	if err != nil {
		return fmt.Errorf("the source %s cannot be set up: %w", s.o.Name, err)
	}
	s.conn = conn
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.owned.Go(func() { s.run(ctx) })
	return nil
}

// Stop takes no more messages, finishes those that have come, and tells the broker, until ctx is done. A second call
// returns what the first did.
func (s *Source) Stop(ctx context.Context) error {
	s.once.Do(func() {
		if s.conn == nil {
			return
		}
		s.cancel()
		if s.err = lifecycle.Wait(ctx, &s.owned); s.err == nil && s.conn.IsConnected() {
			s.err = s.conn.FlushWithContext(ctx) // acknowledgements; what gets lost comes again and is known
		}
		s.conn.Close()
	})
	return s.err
}

// run consumes until ctx is done, whatever happens to the broker, the stream and the consumer.
func (s *Source) run(ctx context.Context) {
	said := ""
	for failed := 0; ctx.Err() == nil; {
		began := time.Now()
		err := s.consume(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			failed, said = 0, ""
		}
		if text := err.Error(); text != said {
			said = text
			s.o.Log.Warn("the stream cannot be read; trying again", "stream", s.o.Stream, "error", err)
		}
		source.Wait(ctx, source.Backoff(failed))
		failed++
	}
}

// consume sets up the consumer and takes its messages, until ctx is done or something is in the way.
func (s *Source) consume(ctx context.Context) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	stream, consumer, err := s.consumer(ctx, js)
	if err != nil {
		return err
	}
	t := &taking{Source: s, js: js, epoch: stream.CachedInfo().Created.UnixNano(), caller: source.Caller(s.o.Within, "nats", s.o.Name, s.o.Stream)}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(s.o.InFlight), jetstream.PullExpiry(20*time.Second),
		jetstream.PullHeartbeat(5*time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("no messages can be asked for: %w", err)
	}
	// Drain hands out what has come already, so that it need not be redelivered.
	stop := context.AfterFunc(ctx, messages.Drain)
	defer stop()
	watched, done := context.WithCancel(ctx)
	var owned sync.WaitGroup
	owned.Go(func() { s.watch(watched, consumer) })
	places := make(chan struct{}, s.o.InFlight)
	for {
		msg, err := messages.Next()
		if err != nil {
			messages.Stop()
			done()
			owned.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the broker sends no messages: %w", err)
		}
		places <- struct{}{}
		owned.Go(func() {
			defer func() { <-places }()
			t.take(msg)
		})
	}
}

// consumer finds the durable consumer, or makes it.
func (s *Source) consumer(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	stream, err := js.Stream(ctx, s.o.Stream)
	if err != nil {
		return nil, nil, fmt.Errorf("the stream %s cannot be looked at: %w", s.o.Stream, err)
	}
	want := jetstream.ConsumerConfig{
		Durable: s.o.Consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.o.AckWait, MaxDeliver: -1, MaxAckPending: 8 * s.o.InFlight,
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: s.o.Subjects, Metadata: map[string]string{managed: managedBy},
		Description: "events for Patchbay",
	}
	if s.o.InFlight == 1 {
		want.MaxAckPending = 1 // the next one is not given to another node before this one is done
	}
	consumer, err := stream.Consumer(ctx, s.o.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = stream.CreateConsumer(ctx, want)
		if err == nil {
			s.o.Log.Info("a consumer was made", "stream", s.o.Stream, "consumer", s.o.Consumer)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the consumer %s cannot be set up: %w", s.o.Consumer, err)
	}
	have := consumer.CachedInfo().Config
	switch {
	case have.AckPolicy != jetstream.AckExplicitPolicy:
		return nil, nil, fmt.Errorf("the consumer %s must have explicit acknowledgements, it has %v: delete it, or name another one", s.o.Consumer, have.AckPolicy)
	case have.Metadata[managed] == managedBy && (!sameSubjects(have, want) || have.MaxAckPending != want.MaxAckPending):
		if consumer, err = stream.UpdateConsumer(ctx, want); err != nil {
			return nil, nil, fmt.Errorf("the consumer %s cannot be changed to what the settings say: %w", s.o.Consumer, err)
		}
	case have.MaxDeliver > 0:
		s.o.Log.Warn("the consumer gives a message up after some deliveries: events are lost when Patchbay's database is away for long", "consumer", s.o.Consumer, "max_deliver", have.MaxDeliver)
	}
	return stream, consumer, nil
}

// sameSubjects reports whether two configurations select the same; one subject comes back in a field of its own.
func sameSubjects(have, want jetstream.ConsumerConfig) bool {
	of := func(c jetstream.ConsumerConfig) []string {
		if c.FilterSubject != "" {
			return []string{c.FilterSubject}
		}
		return slices.Sorted(slices.Values(c.FilterSubjects))
	}
	return slices.Equal(of(have), of(want))
}

// watch keeps the figures of what waits.
func (s *Source) watch(ctx context.Context, consumer jetstream.Consumer) {
	for {
		asked, cancel := context.WithTimeout(ctx, asking)
		if info, err := consumer.Info(asked); err == nil {
			pending := int64(info.NumPending) + int64(info.NumAckPending) //nolint:gosec // counts of messages
			lag := time.Duration(0)
			if pending > 0 {
				lag = s.meter.Figures().Lag
			}
			s.meter.Waits(pending, lag)
		}
		cancel()
		if !source.Wait(ctx, look) {
			return
		}
	}
}
