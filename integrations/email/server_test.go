package email

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user     = "patchbay"
	password = "hunter2-is-secret"
)

// certificate makes one for 127.0.0.1 and localhost that only roots trusts.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// trusting is the integration, trusting the tests' certificate.
func trusting() *Email {
	_, roots := certificate()
	return &Email{roots: roots}
}

// received is a mail that arrived at a post office.
type received struct {
	from string
	to   []string
	data string
	tls  bool
	user string
	utf8 bool
}

// office is a real mail server. Its fields may be set before it is started.
type office struct {
	*smtp.Server
	port       int
	mechanisms []string
	rcpt       func(to string) error

	mu    sync.Mutex
	mails []received
	users []string // who signed in or tried
}

func (o *office) start(t *testing.T, implicitTLS bool) *office {
	t.Helper()
	cert, _ := certificate()
	o.Server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &visit{office: o, conn: c}, nil }))
	o.Domain, o.ErrorLog, o.MaxMessageBytes, o.EnableSMTPUTF8 = "localhost", log.New(io.Discard, "", 0), 1<<20, true
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.port = l.Addr().(*net.TCPAddr).Port
	if implicitTLS {
		l = tls.NewListener(l, o.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = o.Serve(l) }()
	t.Cleanup(func() { _ = o.Close(); <-done })
	return o
}

func (o *office) got() []received {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mails
}

// visit is one session at an office.
type visit struct {
	*office
	conn *smtp.Conn
	mail received
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

func (v *visit) AuthMechanisms() []string { return v.mechanisms }

func (v *visit) Auth(mech string) (sasl.Server, error) {
	check := func(u, p string) error {
		v.mu.Lock()
		v.users = append(v.users, u)
		v.mu.Unlock()
		if u != user || p != password {
			return smtp.ErrAuthFailed
		}
		v.mail.user = u
		return nil
	}
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, u, p string) error { return check(u, p) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// loginServer is the other side of AUTH LOGIN, which the library has only for clients.
type loginServer struct {
	check func(u, p string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

func (v *visit) Mail(from string, o *smtp.MailOptions) error {
	_, secure := v.conn.TLSConnectionState()
	v.mail.from, v.mail.tls, v.mail.utf8, v.mail.to = from, secure, o.UTF8, nil
	if len(v.mechanisms) > 0 && v.mail.user == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if v.rcpt != nil {
		if err := v.rcpt(to); err != nil {
			return err
		}
	}
	v.mail.to = append(v.mail.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.mail.data = string(b)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mails = append(v.mails, v.mail)
	return nil
}

// script is a server that follows a script: for each line that comes in, the first entry whose prefix it has is the
// answer. "" is the greeting. An answer "hang" says nothing more, "drop" ends the connection, "endless" never ends.
type script map[string]string

// start returns the port, and a function that returns what was said to the server.
func (s script) start(t *testing.T) (port int, heard func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				s.serve(conn, func(line string) { mu.Lock(); all.WriteString(line); mu.Unlock() })
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port, func() string { mu.Lock(); defer mu.Unlock(); return all.String() }
}

func (s script) serve(conn net.Conn, hear func(string)) {
	r := bufio.NewReader(conn)
	if !answer(conn, r, s[""]) {
		return
	}
	data := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		hear(line)
		if data {
			if line != ".\r\n" {
				continue
			}
			line = "end"
		}
		reply, ok := "500 what", false
		for prefix, said := range s {
			if prefix != "" && strings.HasPrefix(line, prefix) {
				reply, ok = said, true
			}
		}
		if !ok && strings.HasPrefix(line, "QUIT") {
			reply = "221 bye"
		}
		data = strings.HasPrefix(reply, "354")
		if !answer(conn, r, reply) {
			return
		}
	}
}

// answer reports whether the conversation goes on.
func answer(conn net.Conn, r *bufio.Reader, reply string) bool {
	switch reply {
	case "drop":
		return false
	case "hang":
		_, _ = io.Copy(io.Discard, r)
		return false
	case "endless":
		for {
			if _, err := io.WriteString(conn, "250-more and more and more\r\n"); err != nil {
				return false
			}
		}
	}
	_, err := io.WriteString(conn, strings.ReplaceAll(reply, "\n", "\r\n")+"\r\n")
	return err == nil
}

// polite is a script in which all is well.
func polite() script {
	return script{"": "220 hi", "EHLO": "250-hi\n250 HELP", "NOOP": "250 ok", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", "end": "250 queued as 7"}
}

// with returns the script with other answers.
func (s script) with(pairs ...string) script {
	for i := 0; i < len(pairs); i += 2 {
		s[pairs[i]] = pairs[i+1]
	}
	return s
}

// delivery makes one with settings; %d in them is the port.
func delivery(t *testing.T, settings string, port int, msg *integration.Message) (*integration.Delivery, *[]integration.Exchange) {
	t.Helper()
	def := New().Definition()
	if strings.Contains(settings, "%d") {
		settings = fmt.Sprintf(settings, port)
	}
	checked, err := def.Settings.Check([]byte(settings), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := def.Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	records := &[]integration.Exchange{}
	return &integration.Delivery{
		ID: 7 << 22, Title: "Test failure", Settings: decoded,
		Event:   &patchbay.Event{ID: 3 << 22, Type: "run_test_failure", OccurredAt: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)},
		Message: func() (*integration.Message, error) { return msg, nil },
		Env: &integration.Env{
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
			Record: func(x integration.Exchange) { *records = append(*records, x) },
			Now:    func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) },
		},
	}, records
}

var errRefusedHere = fmt.Errorf("%w: 10.0.0.1 is private", integration.ErrRefused)

var errNoConnection = errors.New("connection refused")
