package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are drawn from below the range that operating systems use for outgoing
// connections: a connection to a dead member must not be able to meet itself.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 200
)

// FreePorts returns loopback addresses that are free for TCP and UDP.
func FreePorts(ctx context.Context, n int) ([]string, error) {
	addrs := make([]string, 0, n)
	seen := map[int]bool{}
	for range portTries {
		if len(addrs) == n {
			return addrs, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if seen[port] || !portFree(ctx, addr) {
			continue
		}
		seen[port] = true
		addrs = append(addrs, addr)
	}
	return nil, errors.New("lab: no free ports on the loopback interface")
}

func portFree(ctx context.Context, addr string) bool {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	p, err := c.ListenPacket(ctx, "udp", addr)
	if err == nil {
		err = p.Close()
	}
	return errors.Join(err, l.Close()) == nil
}
