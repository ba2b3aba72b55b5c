package outbound

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// authority makes certificates that a test's client trusts.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(from, until time.Duration, names ...string) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func secureServer(t *testing.T, config *tls.Config, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TLS is checked, kept alive, spoken as HTTP/1.1, and not spoken below 1.2; what is wrong with it is said.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	var requests atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		b, _ := io.ReadAll(r.Body)
		if r.ProtoMajor != 1 {
			t.Errorf("%s", r.Proto)
		}
		w.Write(b)
	})
	dns := &fakeDNS{answers: map[string][][]string{"good.test": {{"127.0.0.1"}}, "other.test": {{"127.0.0.1"}}}}
	c := dev(t, func(o *Options) { o.RootCAs, o.Resolver = ca.pool, dns })
	url := func(s *httptest.Server, host string) string {
		_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
		return "https://" + host + ":" + port + "/"
	}

	var connections atomic.Int64
	good := httptest.NewUnstartedServer(h)
	good.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, time.Hour, "good.test", "127.0.0.1")}, NextProtos: []string{"h2", "http/1.1"}}
	good.EnableHTTP2 = true
	good.Config.ErrorLog = log.New(io.Discard, "", 0)
	good.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	good.StartTLS()
	defer good.Close()
	for _, size := range []int{7, 100 << 10, 7} {
		r := post(url(good, "good.test"))
		r.Body = []byte(strings.Repeat("x", size))
		if resp, err := c.Do(t.Context(), r); err != nil || len(resp.Body) != size {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	if _, err := c.Do(t.Context(), post(url(good, "127.0.0.1"))); err != nil {
		t.Errorf("by address: %v", err)
	}
	if connections.Load() != 2 {
		t.Errorf("%d connections for two hosts", connections.Load())
	}
	// Idle connections that the server closes, as a restart does, are noticed.
	good.CloseClientConnections()
	requests.Store(0)
	if _, err := c.Do(t.Context(), post(url(good, "good.test"))); err != nil || requests.Load() != 1 {
		t.Errorf("after a restart: %v, %d requests", err, requests.Load())
	}

	server := func(cert tls.Certificate, change func(*tls.Config)) *httptest.Server {
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		if change != nil {
			change(config)
		}
		return secureServer(t, config, h)
	}
	fine := ca.issue(-time.Hour, time.Hour, "good.test")
	for _, k := range []struct{ url, want string }{
		{url(server(ca.issue(-2*time.Hour, -time.Hour, "good.test"), nil), "good.test"), "TLS: the certificate has expired"},
		{url(server(ca.issue(time.Hour, 2*time.Hour, "good.test"), nil), "good.test"), "TLS: the certificate is not valid yet"},
		{url(good, "other.test"), "TLS: the certificate is for another host"},
		{url(server(newAuthority(t).issue(-time.Hour, time.Hour, "good.test"), nil), "good.test"), "TLS: the certificate is signed by an unknown authority"},
		{url(server(fine, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }), "good.test"), "TLS: the server refused the handshake (protocol version not supported)"},
		{url(server(fine, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert; c.MaxVersion = tls.VersionTLS12 }), "good.test"), "TLS: the server refused the handshake (handshake failure)"},
		{"https" + strings.TrimPrefix(serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
			br.ReadByte()
			io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n")
		}), "http"), "TLS: the server does not speak TLS on this port"},
	} {
		if _, err := c.Do(t.Context(), post(k.url)); err == nil || !strings.HasPrefix(err.Error(), "TLS: ") {
			t.Errorf("%v, want %q", err, k.want)
		} else if err.Error() != k.want {
			t.Errorf("%v, want %q", err, k.want)
		}
	}
}

// What a server says behind its answer inside of the same TLS record is not the next request's answer.
func TestTLSUnaskedAnswer(t *testing.T) {
	ca := newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, time.Hour, "127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { l.Close(); <-done }()
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			for {
				if _, err := nc.Read(buf); err != nil {
					nc.Close()
					break
				}
				// The padding makes the answer fill the client's buffer to the byte.
				first := "HTTP/1.1 503 Down\r\nContent-Length: 0\r\nX: "
				io.WriteString(nc, first+strings.Repeat("x", bufferSize-len(first)-4)+"\r\n\r\n"+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	}()
	c := dev(t, func(o *Options) { o.RootCAs = ca.pool })
	for range 3 {
		resp, err := c.Do(t.Context(), &integration.Request{Method: "GET", URL: "https://" + l.Addr().String()})
		if err != nil || resp.Status != 503 {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
}
