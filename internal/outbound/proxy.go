package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// proxy is the explicit egress-proxy. It is the operator's own, so it is not guarded; it dials for us, so for names
// it is the proxy that has to keep what is private out. The client still refuses addresses that are spelled out and
// names that resolve here to nothing but refused addresses.
type proxy struct {
	tls        *tls.Config // nil: the proxy is spoken to in the clear
	name, port string
	auth       string // the value of Proxy-Authorization, or ""
	net        net.Dialer
}

// ParseProxy reads the value of egress-proxy: http://host:port or https://host:port, with user information if the
// proxy wants it.
func ParseProxy(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Hostname() == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("egress-proxy must be http://host:port or https://host:port")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("egress-proxy is the address of a proxy alone: leave out what stands after the port")
	}
	return u, nil
}

func newProxy(u *url.URL, roots *x509.CertPool) *proxy {
	if u == nil {
		return nil
	}
	p := &proxy{name: u.Hostname(), port: u.Port()}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
		p.tls = &tls.Config{ServerName: p.name, MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	if p.port == "" {
		p.port = port
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p
}

// dial connects to the proxy, and through it to a target that wants TLS.
func (p *proxy) dial(ctx context.Context, d *dialer, t *target) (net.Conn, error) {
	if err := p.check(ctx, d, t.name); err != nil {
		return nil, err
	}
	nc, err := p.net.DialContext(ctx, "tcp", net.JoinHostPort(p.name, p.port))
	if err == nil && p.tls != nil {
		nc, err = startTLS(ctx, nc, p.tls)
	}
	if err == nil && t.origin.tls {
		err = p.tunnel(ctx, nc, net.JoinHostPort(t.name, t.port))
	}
	if err != nil {
		if nc != nil {
			nc.Close()
		}
		var already *failure
		if errors.As(err, &already) {
			return nil, err
		}
		return nil, &failure{"the egress proxy could not be reached", err}
	}
	return nc, nil
}

// check refuses what is known here to be refused; a name that does not resolve here may be known to the proxy.
func (p *proxy) check(ctx context.Context, d *dialer, host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return d.guard.Check(addr)
	}
	_, err := d.resolve(ctx, "tcp", host)
	var refusal *RefusedError
	if errors.As(err, &refusal) {
		return refusal
	}
	return nil
}

func (p *proxy) tunnel(ctx context.Context, nc net.Conn, to string) error {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(aLongTimeAgo) })
	defer stop()
	head := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if p.auth != "" {
		head += "Proxy-Authorization: " + p.auth + "\r\n"
	}
	if _, err := nc.Write([]byte(head + "\r\n")); err != nil {
		return err
	}
	br := bufio.NewReader(nc)
	left := maxHead
	block, err := readBlock(br, nil, &left)
	if err != nil {
		return err
	}
	a, err := parseHead(string(block))
	switch {
	case err != nil, br.Buffered() > 0:
		return &failure{text: "the egress proxy's answer is not readable as HTTP", cause: err}
	case a.Status/100 != 2:
		return &failure{text: fmt.Sprintf("the egress proxy refused the connection (%d)", a.Status)}
	}
	return nc.SetDeadline(time.Time{})
}

// startTLS makes a TLS connection of one that it closes when that fails.
func startTLS(ctx context.Context, nc net.Conn, config *tls.Config) (net.Conn, error) {
	t := tls.Client(nc, config)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return t, nil
}
