package wire

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Dialer opens a stream to an address. Its errors let IsRefused tell a refusal
// from a timeout.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// keepAlive is how often the operating system probes an idle connection; it
// finds peers that have vanished without a word on connections nobody uses.
const keepAlive = 15 * time.Second

// TCPDialer returns a Dialer for TCP. A source such as "10.0.0.7" or
// "10.0.0.7:0" binds every outgoing connection to that address; empty leaves
// the choice to the operating system.
func TCPDialer(source string) (Dialer, error) {
	d := &net.Dialer{KeepAlive: keepAlive}
	if source != "" {
		if _, _, err := net.SplitHostPort(source); err != nil {
			source = net.JoinHostPort(source, "0")
		}
		local, err := net.ResolveTCPAddr("tcp", source)
		if err != nil {
			return nil, fmt.Errorf("wire: source address %q: %w", source, err)
		}
		d.LocalAddr = local
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", addr)
	}, nil
}

// Open dials addr and sends the preface for a purpose. Every error wraps
// ErrUnreachable: nothing but the preface can have been sent.
func Open(ctx context.Context, dial Dialer, addr string, purpose Purpose) (net.Conn, error) {
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: dial %s: %w", ErrUnreachable, addr, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = nc.SetWriteDeadline(deadline)
	}
	if err == nil {
		err = writePreface(nc, purpose)
	}
	if err == nil {
		err = nc.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%w: open %s: %w", ErrUnreachable, addr, err)
	}
	return nc, nil
}
