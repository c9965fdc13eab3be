package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// probeTime is how long a packet may take over the loopback interface of a busy
	// machine before it counts as lost.
	probeTime = 300 * time.Millisecond
	// connectTime is the same of a connection.
	connectTime = 500 * time.Millisecond
)

// probe is a look at one link. It uses addresses of members beside them, which a
// filter does not tell apart.
type probe struct{ link }

// arrive sends so many packets and returns how many have arrived.
func (p probe) arrive(ctx context.Context, packets int) (int, error) {
	var lc net.ListenConfig
	in, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(p.to, "0"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(p.from)}}
	out, err := d.DialContext(ctx, "udp", in.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	defer out.Close()
	arrived := 0
	var buf [8]byte
	for sent := 0; sent < packets; {
		// In rounds, so that no buffer overflows.
		round := min(50, packets-sent)
		for range round {
			if _, err := out.Write(buf[:1]); err != nil {
				return arrived, err
			}
		}
		sent += round
		for end := time.Now().Add(probeTime); round > 0; round-- {
			if err := in.SetReadDeadline(end); err != nil {
				return arrived, err
			}
			if _, _, err := in.ReadFrom(buf[:]); err != nil {
				if !isTimeout(err) {
					return arrived, err
				}
				break
			}
			arrived++
		}
	}
	return arrived, nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// answers reports whether anything comes back when a connection is asked for at a
// port: one that is refused has come through too.
func (p probe) answers(ctx context.Context, port ports) (bool, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.from)}, Timeout: connectTime}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(p.to, strconv.Itoa(int(port))))
	switch {
	case err == nil:
		return true, c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		return true, nil
	case isTimeout(err):
		return false, nil
	}
	return false, err
}

// refused reports whether a connection to somebody who listens is refused.
func (p probe) refused(ctx context.Context) (bool, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(p.to, "0"))
	if err != nil {
		return false, err
	}
	defer l.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.from)}, Timeout: connectTime}
	c, err := d.DialContext(ctx, "tcp", l.Addr().String())
	switch {
	case err == nil:
		return false, c.Close()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return true, nil
	case isTimeout(err):
		// The answer was reset, at the other end.
		return false, nil
	}
	return false, err
}

// carries reports whether a link lets through what a filter over these ports would
// stop.
func (p probe) carries(ctx context.Context, port ports) (bool, error) {
	if port != allPorts {
		return p.answers(ctx, port)
	}
	n, err := p.arrive(ctx, 3)
	return n > 0, err
}

// each looks at all links at the same time and joins what is wrong with them.
func each(links []link, look func(probe) error) error {
	errs := make(chan error, len(links))
	for _, k := range links {
		go func() { errs <- look(probe{k.hosts()}) }()
	}
	var err error
	for range links {
		err = errors.Join(err, <-errs)
	}
	return err
}

// hosts replaces networks by an address in them.
func (k link) hosts() link {
	host := func(s string) string {
		if net, _, ok := strings.Cut(s, "/"); ok {
			return strings.TrimSuffix(net, ".0") + ".251"
		}
		return s
	}
	return link{host(k.from), host(k.to)}
}

// String says which way.
func (k link) String() string { return fmt.Sprintf("%s → %s", k.from, k.to) }
