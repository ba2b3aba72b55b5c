package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/source"
	"github.com/patchbay/patchbay/internal/source/sourcetest"
)

const patience = 60 * time.Second

// childDir names the environment variable that makes this binary a broker, which the test can kill.
const childDir = "PATCHBAY_TEST_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		serveChild(dir)
	}
	os.Exit(m.Run())
}

func brokerOptions(dir string, port int) *server.Options {
	return &server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true}
}

// serveChild is a broker until it is killed, or its parent is gone. It writes its address to a file.
func serveChild(dir string) {
	port := server.RANDOM_PORT
	address := filepath.Join(dir, "address")
	if old, err := os.ReadFile(address); err == nil {
		_, _ = fmt.Sscanf(string(old), "nats://127.0.0.1:%d", &port)
	}
	s, err := server.NewServer(brokerOptions(dir, port))
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		panic("the broker does not start")
	}
	if err := os.WriteFile(address+".new", []byte(s.ClientURL()), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(address+".new", address); err != nil {
		panic(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent
	os.Exit(0)
}

// startChild starts a broker as a process of its own.
func startChild(t *testing.T, dir string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		in.Close()
	})
	t.Cleanup(kill)
	return kill
}

// start starts a broker in this process.
func start(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(brokerOptions(t.TempDir(), server.RANDOM_PORT))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the broker does not start")
	}
	return s
}

// publisher is a product that publishes.
type publisher struct {
	t    *testing.T
	conn *nats.Conn
	js   jetstream.JetStream
}

func dial(t *testing.T, url string) *publisher {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{t, conn, js}
}

func (p *publisher) stream(name string, subjects ...string) jetstream.Stream {
	p.t.Helper()
	s, err := p.js.CreateStream(p.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.FileStorage})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// say publishes a message until the broker has it.
func (p *publisher) say(subject, body string, headers ...string) {
	p.t.Helper()
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header.Add(headers[i], headers[i+1])
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
		_, err := p.js.PublishMsg(ctx, m)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatal(err)
		}
	}
}

func begin(t *testing.T, o Options) *Source {
	t.Helper()
	if o.Name == "" {
		o.Name = "test"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func until(t *testing.T, in *sourcetest.Ingest, n int) []ingest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got := in.Until(ctx, n); got < n {
		t.Fatalf("%d messages were taken, want %d", got, n)
	}
	messages, _ := in.Taken()
	return messages
}

// acknowledged waits until the broker waits for nothing any more.
func acknowledged(t *testing.T, stream jetstream.Stream) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		consumer, err := stream.Consumer(t.Context(), DefaultConsumer)
		if err == nil {
			if info := consumer.CachedInfo(); info.NumPending == 0 && info.NumAckPending == 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("messages stay with the broker: %v", err)
		}
		<-tick.C
	}
}

// TestExactlyOnce has two nodes take 10,000 messages while the broker is killed and comes back.
func TestExactlyOnce(t *testing.T) {
	dir := t.TempDir()
	kill := startChild(t, dir)
	var url string
	for deadline := time.Now().Add(patience); url == ""; {
		b, _ := os.ReadFile(filepath.Join(dir, "address"))
		if url = string(b); time.Now().After(deadline) {
			t.Fatal("the broker does not start")
		}
	}
	p := dial(t, url)
	stream := p.stream("ORDERS", "orders.>")
	in := &sourcetest.Ingest{}
	const n = 10_000
	half := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() {
		for i := range n {
			p.say("orders.created", fmt.Sprintf(`{"n":%d}`, i), jetstream.MsgIDHeader, fmt.Sprint(i))
			if i == n/2 {
				close(half)
			}
		}
	})
	o := Options{URL: patchbay.Secret(url), Stream: "ORDERS", AckWait: 2 * time.Second, Ingest: in}
	first, second := begin(t, o), begin(t, o)
	for range 2 {
		<-half
		until(t, in, 1000)
		kill()
		kill = startChild(t, dir)
	}
	owned.Wait()
	messages := until(t, in, n)
	acknowledged(t, stream)
	seen := make([]int, n)
	for _, m := range messages {
		var e struct{ N int }
		if err := json.Unmarshal(m.Body, &e); err != nil {
			t.Fatal(err)
		}
		seen[e.N]++
	}
	for i, times := range seen {
		if times != 1 {
			t.Fatalf("message %d became %d events", i, times)
		}
	}
	f, g := first.Figures(), second.Figures()
	if f.Accepted+g.Accepted != n || f.Accepted == 0 || g.Accepted == 0 {
		t.Errorf("the nodes took %d and %d", f.Accepted, g.Accepted)
	}
	t.Logf("%d and %d, of which %d came again", f.Accepted, g.Accepted, f.Duplicates+g.Duplicates)
}

// TestRedelivered proves that a message whose acknowledgement is lost makes no second event, nor does one that a
// stream with the same name and numbers holds after it was made anew get lost.
func TestRedelivered(t *testing.T) {
	p := dial(t, start(t).ClientURL())
	stream := p.stream("ORDERS", "orders.>")
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: DefaultConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 200 * time.Millisecond, MaxDeliver: -1}); err != nil {
		t.Fatal(err)
	}
	in := &sourcetest.Ingest{}
	slow := make(chan struct{})
	var calls atomic.Int64
	in.Answer = func(*ingest.Message) error {
		if calls.Add(1) == 1 {
			<-slow // longer than the broker waits
		}
		return nil
	}
	s := begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "ORDERS", Ingest: in})
	p.say("orders.created", `{"n":1}`)
	until(t, in, 1) // the second delivery
	close(slow)
	acknowledged(t, stream)
	stop(t, s)
	if got, again := in.Taken(); len(got) != 1 || again < 1 {
		t.Errorf("%d events, %d came again", len(got), again)
	}
	if err := p.js.DeleteStream(t.Context(), "ORDERS"); err != nil {
		t.Fatal(err)
	}
	p.stream("ORDERS", "orders.>")
	begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "ORDERS", Ingest: in})
	p.say("orders.created", `{"n":2}`)
	until(t, in, 2)
}

// TestRefused proves that a message that can never be accepted is let go of, with its reason where an operator sees it.
func TestRefused(t *testing.T) {
	p := dial(t, start(t).ClientURL())
	stream := p.stream("ORDERS", "orders.>")
	dead := p.stream("DEAD", "dead.>")
	in := &sourcetest.Ingest{Answer: func(m *ingest.Message) error {
		if strings.Contains(string(m.Body), "bad") {
			return patchbay.Invalid("event_type", "there is no event type")
		}
		return nil
	}}
	s := begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "ORDERS", DeadLetter: "dead.orders", Ingest: in})
	p.say("orders.a", `{"n":1,"bad":true}`, "Traceparent", "00-1")
	p.say("orders.b", `{"n":2}`)
	until(t, in, 1)
	acknowledged(t, stream)
	message, err := dead.GetLastMsgForSubject(t.Context(), "dead.orders")
	if err != nil {
		t.Fatal(err)
	}
	if string(message.Data) != `{"n":1,"bad":true}` || message.Header.Get("Traceparent") != "00-1" ||
		message.Header.Get(HeaderReason) != "event_type: there is no event type" || message.Header.Get(HeaderOrigin) != "ORDERS:1 orders.a" {
		t.Errorf("the dead letter is %s %v", message.Data, message.Header)
	}
	if f := s.Figures(); f.Accepted != 1 || f.Refused != 1 || !f.Connected {
		t.Errorf("the figures are %+v", f)
	}
}

// TestPostponed proves that nothing is lost while this installation takes nothing in, and that the rest goes on.
func TestPostponed(t *testing.T) {
	p := dial(t, start(t).ClientURL())
	stream := p.stream("ORDERS", "orders.>")
	var away atomic.Bool
	away.Store(true)
	tried := make(chan struct{}, 1000)
	in := &sourcetest.Ingest{Answer: func(*ingest.Message) error {
		if away.Load() {
			tried <- struct{}{}
			return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database is away"}
		}
		return nil
	}}
	s := begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "ORDERS", Ingest: in})
	for i := range 20 {
		p.say("orders.a", fmt.Sprintf(`{"n":%d}`, i))
	}
	for range 21 { // one comes for the second time
		<-tried
	}
	away.Store(false)
	until(t, in, 20)
	acknowledged(t, stream)
	if f := s.Figures(); f.Postponed < 21 || f.Accepted != 20 {
		t.Errorf("the figures are %+v", f)
	}
}

// TestStop proves that a stop finishes what has come and tells the broker, so that nothing waits to be redelivered.
func TestStop(t *testing.T) {
	p := dial(t, start(t).ClientURL())
	stream := p.stream("ORDERS", "orders.>")
	for i := range 500 {
		p.say("orders.a", fmt.Sprintf(`{"n":%d}`, i))
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	in := &sourcetest.Ingest{Answer: func(*ingest.Message) error {
		once.Do(func() { close(begun) })
		<-goOn
		return nil
	}}
	s := begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "ORDERS", InFlight: 16, Ingest: in})
	<-begun
	var owned sync.WaitGroup
	owned.Go(func() { stop(t, s) })
	close(goOn)
	owned.Wait()
	taken, _ := in.Taken()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for { // the broker reads the last acknowledgements after the source has ended
		consumer, err := stream.Consumer(t.Context(), DefaultConsumer)
		if err != nil {
			t.Fatal(err)
		}
		info := consumer.CachedInfo()
		if info.NumAckPending == 0 && int(info.NumPending)+len(taken) == 500 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d were taken; %d wait, %d are not acknowledged", len(taken), info.NumPending, info.NumAckPending)
		}
		<-tick.C
	}
}

// TestConsumer proves what becomes of consumers that are there already, and of streams that are not.
func TestConsumer(t *testing.T) {
	p := dial(t, start(t).ClientURL())
	in := &sourcetest.Ingest{}
	s := begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "LATER", Subjects: []string{"later.a", "later.b"}, Ingest: in})
	stream := p.stream("LATER", "later.>") // comes after the source
	p.say("later.a", `{}`)
	p.say("later.c", `{}`)
	p.say("later.b", `{}`)
	until(t, in, 2)
	stop(t, s)
	s = begin(t, Options{URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "LATER", Subjects: []string{"later.c"}, InFlight: 1, Ingest: in})
	p.say("later.c", `{}`)
	until(t, in, 3)
	stop(t, s)
	consumer, err := stream.Consumer(t.Context(), DefaultConsumer)
	if err != nil {
		t.Fatal(err)
	}
	if c := consumer.CachedInfo().Config; c.MaxAckPending != 1 || c.FilterSubject+strings.Join(c.FilterSubjects, ",") != "later.c" || c.MaxDeliver != -1 {
		t.Errorf("the consumer is %+v", c)
	}
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "none", AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	other, err := New(Options{Name: "x", URL: patchbay.Secret(p.conn.ConnectedUrl()), Stream: "LATER", Consumer: "none", Ingest: in})
	if err != nil {
		t.Fatal(err)
	}
	other.conn = p.conn
	if _, _, err := other.consumer(t.Context(), p.js); err == nil || !strings.Contains(err.Error(), "explicit acknowledgements") {
		t.Errorf("a consumer that acknowledges nothing: %v", err)
	}
	if _, err := New(Options{Name: "x", URL: "nats://localhost", Stream: "X", Credentials: "/nowhere/x.creds"}); err == nil {
		t.Error("credentials that are not there are taken")
	}
}

// TestFill proves how messages are read.
func TestFill(t *testing.T) {
	template := func(text string) Template {
		t.Helper()
		tm, err := ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	mapped := Options{Type: template("{3...}"), Scope: template("acme/{2}")}
	for _, tc := range []struct {
		name    string
		o       Options
		subject string
		header  nats.Header
		data    string
		want    ingest.Message
		err     string
	}{
		{"a whole event", Options{}, "a.b", nil, `{"event_type":"x"}`, ingest.Message{Body: []byte(`{"event_type":"x"}`)}, ""},
		{"nothing", Options{}, "a.b", nil, "", ingest.Message{}, "the message is empty"},
		{"by its header", Options{}, "a.b", nats.Header{HeaderType: {"x"}, HeaderScope: {"acme"}, HeaderAlso: {"acme/a", "acme/b"}, HeaderOccurredAt: {"2026-01-02T03:04:05Z"}, HeaderActor: {`{"name":"Ada"}`}},
			`{"n":1}`, ingest.Message{Type: "x", Scope: "acme", Scoped: true, Also: []string{"acme/a", "acme/b"}, OccurredAt: "2026-01-02T03:04:05Z", Actor: []byte(`{"name":"Ada"}`), Payload: []byte(`{"n":1}`)}, ""},
		{"without a payload", Options{}, "a.b", nats.Header{HeaderType: {"x"}}, "", ingest.Message{Type: "x"}, ""},
		{"a scope without a type", Options{}, "a.b", nats.Header{HeaderScope: {"acme"}}, "{}", ingest.Message{}, "goes with " + HeaderType},
		{"two scopes", Options{}, "a.b", nats.Header{HeaderType: {"x"}, HeaderScope: {"a", "b"}}, "{}", ingest.Message{}, "more than once"},
		{"by its subject", mapped, "events.web.repo.push", nil, "{}", ingest.Message{Type: "repo.push", Scope: "acme/web", Scoped: true, Payload: []byte("{}")}, ""},
		{"the header before the subject", mapped, "events.web.repo.push", nats.Header{HeaderType: {"x"}, HeaderScope: {""}}, "{}", ingest.Message{Type: "x", Scoped: true, Payload: []byte("{}")}, ""},
		{"too short a subject", mapped, "events.web", nil, "{}", ingest.Message{}, "needs more tokens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m ingest.Message
			err := tc.o.fill(&m, tc.subject, tc.header, []byte(tc.data))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !ingest.Final(err) {
					t.Errorf("%v, want %q", err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, m); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "{subject}": "a.b.c", "x/{2}": "x/b", "{2...}": "b.c", "{3...}-{1}": "c-a", "{1}{2}": "ab",
	} {
		tm, err := ParseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tm.Make("a.b.c"); got != want || err != nil {
			t.Errorf("%s makes %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{", "}", "{0}", "{-1}", "{x}", "{2", "2}", "{2..}", "{{2}}", "{999}"} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), "{2...}") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("x/{2...}", "a.b.c")
	f.Add("{subject}{1}", "")
	f.Fuzz(func(t *testing.T, text, subject string) {
		tm, err := ParseTemplate(text)
		if err != nil {
			return
		}
		if made, err := tm.Make(subject); err == nil && strings.IndexByte(text, '{') < 0 && made != text {
			t.Errorf("%q makes %q", text, made)
		}
	})
}

func TestBackoff(t *testing.T) {
	last := time.Duration(0)
	for n := range uint64(200) {
		if p := pause(n); p < last || p > time.Minute || p <= 0 {
			t.Fatalf("pause %d is %v, after %v", n, p, last)
		} else {
			last = p
		}
		if b := source.Backoff(int(n)); b <= 0 || b > 15*time.Second {
			t.Fatalf("backoff %d is %v", n, b)
		}
	}
}

// TestAddress: an address that cannot be read is refused without showing the password in it.
func TestAddress(t *testing.T) {
	for _, url := range []string{"nats://user:pa%ss@broker:4222", "nats://ok:4222, user:hun ter@[broker"} {
		if _, err := New(Options{Name: "x", URL: patchbay.Secret(url), Stream: "S"}); err == nil || strings.Contains(err.Error(), "ss@") || strings.Contains(err.Error(), "hun") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"broker", "nats://user:p%25s@broker:4222,tls://other:4222", "wss://broker/path"} {
		if _, err := New(Options{Name: "x", URL: patchbay.Secret(url), Stream: "S"}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
