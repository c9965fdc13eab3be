package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	defaultGossipBind = "127.0.0.1:7382"
	// bindAttempts is how often a free port is picked when the one picked for
	// connections turns out to be taken for packets.
	bindAttempts = 10
)

// boundTransport sends and dials from the address it listens on. The library's
// own transport does so for packets only, so that connections would leave from
// whatever address the host prefers, and be refused where that is filtered.
type boundTransport struct {
	*memberlist.NetTransport
	source net.Addr // of connections; nil when listening on all addresses
	ipv4   bool     // listening on addresses of version 4
	stop   context.Context
	cancel context.CancelFunc // breaks the connections that were dialled
}

var _ memberlist.NodeAwareTransport = (*boundTransport)(nil)

func listenBound(bind, source string, logger *log.Logger) (*boundTransport, error) {
	if bind == "" {
		bind = defaultGossipBind
	}
	host, port, err := splitIPPort(bind)
	if err != nil {
		return nil, fmt.Errorf("cluster: gossip listens on %q: %w", bind, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	ip := net.ParseIP(host)
	t := &boundTransport{ipv4: ip.To4() != nil}
	if host, _, err := net.SplitHostPort(source); err == nil {
		source = host
	}
	switch from := net.ParseIP(source); {
	case source != "" && from == nil:
		return nil, fmt.Errorf("cluster: gossip leaves from %q, which is no IP address", source)
	case source != "":
		t.source = &net.TCPAddr{IP: from}
	case !ip.IsUnspecified():
		t.source = &net.TCPAddr{IP: ip}
	}
	conf := &memberlist.NetTransportConfig{BindAddrs: []string{host}, BindPort: port, Logger: logger}
	for attempt := 1; ; attempt++ {
		// The library formats its errors away, so that every failure to pick a
		// port counts as one that another port may cure.
		if t.NetTransport, err = memberlist.NewNetTransport(conf); err == nil {
			break
		}
		if port != 0 || attempt == bindAttempts {
			return nil, fmt.Errorf("cluster: gossip listens on %s: %w", net.JoinHostPort(host, strconv.Itoa(port)), err)
		}
	}
	t.stop, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// DialTimeout connects from the address listened on.
func (t *boundTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: t.source}
	conn, err := dialer.DialContext(t.stop, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &boundConn{conn, context.AfterFunc(t.stop, func() { conn.Close() })}, nil
}

// DialAddressTimeout is DialTimeout; the name of the member is not needed.
func (t *boundTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown breaks what was dialled and stops listening.
func (t *boundTransport) Shutdown() error {
	t.cancel()
	return t.NetTransport.Shutdown()
}

// boundConn is a connection that its transport can break.
type boundConn struct {
	net.Conn
	release func() bool // gives up the transport's hold
}

// Close implements net.Conn.
func (c *boundConn) Close() error {
	c.release()
	err := c.Conn.Close()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return nil // broken by the transport or by the other end
	}
	return err
}
