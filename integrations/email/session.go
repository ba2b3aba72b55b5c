package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// maxSaid bounds what a server may say in one conversation. Replies are some hundred bytes each.
const maxSaid = 1 << 20

// session is a conversation with a mail server.
type session struct {
	ctx    context.Context
	srv    *server
	conn   net.Conn
	text   *textproto.Conn
	stop   func() bool // ends the watch on ctx
	secure bool
	// extensions are what the server says that it can do, with its parameters.
	extensions map[string]string
}

// open connects, greets, switches to TLS and signs in.
func (e *Email) open(ctx context.Context, env *integration.Env, srv *server) (*session, *integration.Result) {
	conn, err := env.Dial(ctx, "tcp", srv.address())
	if err != nil {
		r := integration.Unreachable("the mail server "+srv.address(), err)
		return nil, &r
	}
	s := &session{ctx: ctx, srv: srv, conn: &bounded{Conn: conn, left: maxSaid}}
	// Whatever waits for the server waits no longer than the attempt lasts.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	s.text = textproto.NewConn(s.conn)
	if bad := e.begin(s, env); bad != nil {
		s.close()
		return nil, bad
	}
	return s, nil
}

func (e *Email) begin(s *session, env *integration.Env) *integration.Result {
	fail := func(step string, err error) *integration.Result {
		r := s.failed(step, err)
		return &r
	}
	if s.srv.Encryption == implicit {
		if err := s.handshake(e); err != nil {
			return fail("TLS", err)
		}
	}
	if _, _, err := s.text.ReadResponse(220); err != nil {
		return fail("greeting", err)
	}
	if err := s.hello(helloName(env, s.srv)); err != nil {
		return fail("EHLO", err)
	}
	if !s.secure && s.srv.Encryption != insecure {
		if _, ok := s.extensions["STARTTLS"]; !ok {
			r := integration.UserError("the mail server %s does not offer STARTTLS, so nothing was sent: choose another encryption if the server takes no other", s.srv.address())
			return &r
		}
		if _, err := s.command(220, "STARTTLS"); err != nil {
			return fail("STARTTLS", err)
		}
		if s.text.R.Buffered() > 0 { // said in the clear, to be taken for something said under TLS
			return fail("STARTTLS", errors.New("somebody between us and the server adds to what it says"))
		}
		if err := s.handshake(e); err != nil {
			return fail("TLS", err)
		}
		if err := s.hello(helloName(env, s.srv)); err != nil {
			return fail("EHLO", err)
		}
	}
	if s.srv.Username == "" {
		return nil
	}
	if r := s.signIn(); r != nil {
		return r
	}
	return nil
}

// helloName is how we introduce ourselves: by the installation's name, or the sender's domain.
func helloName(env *integration.Env, srv *server) string {
	if u, err := url.Parse(env.PublicURL); err == nil && strings.Contains(u.Hostname(), ".") && net.ParseIP(u.Hostname()) == nil {
		return u.Hostname()
	}
	if a, err := parseAddress(srv.From); err == nil {
		return domain(a.Address)
	}
	return "localhost"
}

func domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// handshake switches to TLS. The certificate must be valid for the host that the settings name.
func (s *session) handshake(e *Email) error {
	conn := tls.Client(s.conn, &tls.Config{ServerName: s.srv.Host, RootCAs: e.roots, MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(s.ctx); err != nil {
		return err
	}
	s.conn, s.secure = conn, true
	s.text = textproto.NewConn(conn)
	return nil
}

// hello introduces us and reads what the server can do.
func (s *session) hello(name string) error {
	answer, err := s.command(250, "EHLO %s", name)
	if err != nil {
		return err
	}
	s.extensions = map[string]string{}
	for i, line := range strings.Split(answer, "\n") {
		if i > 0 {
			word, params, _ := strings.Cut(line, " ")
			s.extensions[strings.ToUpper(word)] = params
		}
	}
	return nil
}

// signIn proves who we are. With a password that could be read on the way, the way that does not show it comes first.
func (s *session) signIn() *integration.Result {
	offered := " " + strings.ToUpper(s.extensions["AUTH"]) + " "
	has := func(name string) bool { return strings.Contains(offered, " "+name+" ") }
	var err error
	switch {
	case !s.secure && has("CRAM-MD5"):
		err = s.cramMD5()
	case has("PLAIN"):
		_, err = s.command(235, "AUTH PLAIN %s", encode("\x00"+s.srv.Username+"\x00"+s.srv.Password.Reveal()))
	case has("LOGIN"):
		err = s.login()
	case has("CRAM-MD5"):
		err = s.cramMD5()
	default:
		r := integration.UserError("the mail server %s offers no way to sign in that Patchbay knows (PLAIN, LOGIN, CRAM-MD5): check the encryption, or leave username empty", s.srv.address())
		return &r
	}
	if err != nil {
		r := s.failed("AUTH", err)
		return &r
	}
	return nil
}

func (s *session) login() error {
	if _, err := s.command(334, "AUTH LOGIN"); err != nil {
		return err
	}
	if _, err := s.command(334, "%s", encode(s.srv.Username)); err != nil {
		return err
	}
	_, err := s.command(235, "%s", encode(s.srv.Password.Reveal()))
	return err
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// send hands over one mail. Recipients that the server refuses do not keep it from the others.
func (s *session) send(m *mail) integration.Result {
	if r := s.fits(m); r != nil {
		return *r
	}
	params := ""
	if _, ok := s.extensions["SIZE"]; ok {
		params = " SIZE=" + strconv.Itoa(len(m.data))
	}
	if m.international() {
		if _, ok := s.extensions["SMTPUTF8"]; !ok {
			return integration.UserError("the mail server %s takes no addresses with letters beyond ASCII", s.srv.address())
		}
		params += " SMTPUTF8"
	}
	if _, err := s.command(250, "MAIL FROM:<%s>%s", m.from, params); err != nil {
		return s.failed("MAIL", err)
	}
	var refused []refusal
	for _, to := range m.to {
		_, err := s.command(25, "RCPT TO:<%s>", to) // 250, or 251 for one that is forwarded
		var said *textproto.Error
		switch {
		case err == nil:
		case errors.As(err, &said) && said.Code != 421:
			refused = append(refused, refusal{to, said})
		default:
			return s.failed("RCPT", err)
		}
	}
	if len(refused) == len(m.to) {
		return s.allRefused(refused)
	}
	if _, err := s.command(354, "DATA"); err != nil {
		return s.failed("DATA", err)
	}
	w := s.text.DotWriter()
	_, err := w.Write(m.data)
	if err := errors.Join(err, w.Close()); err != nil {
		return s.failed("DATA", err)
	}
	code, answer, err := s.text.ReadResponse(250)
	if err != nil {
		return s.failed("DATA", err)
	}
	r := integration.Delivered()
	r.Code, r.Body = code, []byte(s.clean(answer)+s.refusals(refused))
	return r
}

// fits compares the mail with the size that the server takes.
func (s *session) fits(m *mail) *integration.Result {
	most, err := strconv.Atoi(s.extensions["SIZE"])
	if err != nil || most <= 0 || len(m.data) <= most {
		return nil
	}
	r := integration.Misconfigured("the mail has %d bytes, and the server %s takes %d", len(m.data), s.srv.address(), most)
	return &r
}

// command sends a line and returns the answer, whose code must begin with expect. Nothing that is put into a line may
// hold a line end; what does is not sent.
func (s *session) command(expect int, format string, args ...any) (string, error) {
	line := fmt.Sprintf(format, args...)
	if strings.ContainsAny(line, "\r\n") {
		return "", errors.New("a line break in a command")
	}
	if err := s.text.PrintfLine("%s", line); err != nil {
		return "", err
	}
	_, answer, err := s.text.ReadResponse(expect)
	return answer, err
}

// patience is how long a server may take to say goodbye. The mail has been taken, and whatever it says changes nothing.
const patience = time.Second

// quit ends the conversation.
func (s *session) quit() {
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	_, _ = s.command(221, "QUIT")
}

func (s *session) close() {
	s.stop()
	_ = s.text.Close()
}

// bounded ends a conversation with a server that does not stop talking.
type bounded struct {
	net.Conn
	left int
}

// errTalkative is what reading ends with then.
var errTalkative = errors.New("the server says more than a mail server would")

// Read reads what is left.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalkative
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
