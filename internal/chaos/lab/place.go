package lab

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/spacegrid/spacegrid/grid"
)

const (
	// ownSource is where the lab's own questions come from in a private network, so
	// that no cut between members or clients concerns them.
	ownSource = "127.0.3.1"
	// ClientNet is where clients are in a private network.
	ClientNet  = "127.0.2.0/24"
	maxClients = 250
)

// dialer returns how to connect from an address, which counts in a private network
// only.
func (l *Lab) dialer(source string) func(context.Context, string) (net.Conn, error) {
	d := &net.Dialer{}
	if l.private {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

// clientSource is the address of a client, counted from 0.
func clientSource(client int) (string, error) {
	if client < 0 || client >= maxClients {
		return "", fmt.Errorf("lab: client %d has no address (there are %d)", client, maxClients)
	}
	return "127.0.2." + strconv.Itoa(client+1), nil
}

// Dial connects a client, from an address of its own in a private network, to one
// member; to any if member is negative. The other members are known too, for when
// that one is gone. It blocks until a member has answered or ctx ends. The caller
// closes the Grid.
func (l *Lab) Dial(ctx context.Context, client, member int) (*grid.Grid, error) {
	source, err := clientSource(client)
	if err != nil {
		return nil, err
	}
	first := max(member, 0)
	if member < 0 {
		first = client
	}
	addrs := make([]string, 0, len(l.members))
	for i := range l.members {
		addrs = append(addrs, l.members[(first+i)%len(l.members)].peer)
	}
	return grid.DialWith(ctx, l.dialer(source), addrs...)
}

// Connect connects the lab itself, from an address that no fault concerns. The
// caller closes the Grid.
func (l *Lab) Connect(ctx context.Context) (*grid.Grid, error) {
	return grid.DialWith(ctx, l.dialer(ownSource), l.Addrs()...)
}

// Door returns the address of a member's door, "resp" or "http"; "" if there is
// none.
func (l *Lab) Door(kind string, member int) string {
	if !l.config.Doors {
		return ""
	}
	switch m := l.members[member]; kind {
	case "resp":
		return m.resp
	case "http":
		return m.http
	}
	return ""
}

// Conn connects a client, from its own address in a private network, to a door.
func (l *Lab) Conn(ctx context.Context, client int, addr string) (net.Conn, error) {
	source, err := clientSource(client)
	if err != nil {
		return nil, err
	}
	return l.dialer(source)(ctx, addr)
}

// Addrs returns the members' addresses for remote clients.
func (l *Lab) Addrs() []string {
	all := make([]string, 0, len(l.members))
	for _, m := range l.members {
		all = append(all, m.peer)
	}
	return all
}
