package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// conflictInterval is the least time between two reports of a conflict.
	conflictInterval = 10 * time.Second
	// conflictGrace is how long after the start an older life of this member
	// may still be remembered by others, and is then no conflict.
	conflictGrace = 10 * time.Second
)

// delegate is what memberlist calls back. Most calls come with its locks held:
// none blocks, and none calls it back.
type delegate Gossip

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate     = (*delegate)(nil)
)

func addrOf(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(ip.Unmap(), n.Port)
}

// NodeMeta returns what others are told of this member.
func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.meta
}

// NotifyAlive refuses members whose description does not read, or describes
// somebody else.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	if string(m.Member) != n.Name {
		return fmt.Errorf("cluster: member %q describes itself as %q", n.Name, m.Member)
	}
	return nil
}

// NotifyJoin is called when a member is alive that was not.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.put(n, Alive) }

// NotifyUpdate is called when a living member's description has changed.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.put(n, Alive) }

// NotifyLeave is called when a member has left or is seen as dead. The library
// does not say which; a member that leaves has said so in its description.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.put(n, Dead) }

func (d *delegate) put(n *memberlist.Node, status Status) {
	m, err := decodeMeta(n.Meta) // cannot fail after NotifyAlive
	if err != nil || d.stop.Err() != nil {
		return
	}
	if status == Dead && m.Flags&FlagLeaving != 0 {
		status = Left
	}
	d.mu.Lock()
	p, known := d.mu.peers[n.Name]
	if !known && len(d.mu.peers) >= MaxMembers && !d.displaceLocked() {
		d.mu.Unlock()
		return
	}
	if !known || p.Status != status {
		p = Peer{Since: time.Now(), LastAck: p.LastAck, RTT: p.RTT, Status: status}
		d.log.Info("member is "+status.String(), "peer", n.Name, "address", addrOf(n), "incarnation", m.Incarnation)
	}
	p.Meta, p.Gossip = m, addrOf(n)
	d.mu.peers[n.Name] = p
	d.mu.Unlock()
	poke(d.changed)
}

// displaceLocked makes room by forgetting who has been gone longest.
func (d *delegate) displaceLocked() bool {
	var oldest string
	for name, p := range d.mu.peers {
		if p.Status != Alive && (oldest == "" || p.Since.Before(d.mu.peers[oldest].Since)) {
			oldest = name
		}
	}
	delete(d.mu.peers, oldest)
	return oldest != ""
}

// NotifyConflict is called when a name comes from a second address while the
// first is alive. A process that restarts elsewhere is in conflict with what is
// remembered of its former life; that is not reported unless it lasts.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != string(d.cfg.Meta.Member) {
		return // for those two to sort out
	}
	theirs, err := decodeMeta(other.Meta)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	mine, err := decodeMeta(d.mu.meta)
	if err != nil {
		return
	}
	former := theirs.Incarnation < mine.Incarnation ||
		theirs.Incarnation == mine.Incarnation && theirs.Boot < mine.Boot
	now := time.Now()
	if former && now.Sub(d.born) < conflictGrace || now.Sub(d.mu.clashed) < conflictInterval {
		return
	}
	c := &ConflictError{
		Member: d.cfg.Meta.Member, Self: addrOf(existing), Other: addrOf(other),
		OtherIncarnation: theirs.Incarnation, OtherBoot: theirs.Boot,
	}
	select {
	case d.conflicts <- c:
		d.mu.clashed = now
	default:
	}
}

// NotifyPingComplete is called when a member has answered a direct probe.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.mu.peers[n.Name]; ok {
		p.LastAck, p.RTT = time.Now(), rtt
		d.mu.peers[n.Name] = p
	}
}

// AckPayload adds nothing to answers to probes.
func (d *delegate) AckPayload() []byte { return nil }

// The rest of memberlist.Delegate is for messages of the application. There are
// none: whatever must arrive goes another way.

// NotifyMsg drops a message.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to send.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add to a full exchange.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState drops what others add to a full exchange.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// logBridge passes the library's lines on, at one level less than it gives
// them: what it calls an error is mostly the weather of networks, and who comes
// and goes is logged by delegate.
type logBridge struct{ log *slog.Logger }

func (b *logBridge) Write(line []byte) (int, error) {
	text := bytes.TrimSpace(line)
	level := slog.LevelDebug
	if rest, ok := bytes.CutPrefix(text, []byte("[ERR] ")); ok {
		text, level = rest, slog.LevelWarn
	} else if rest, ok := bytes.CutPrefix(text, []byte("[WARN] ")); ok {
		text, level = rest, slog.LevelInfo
	} else if _, rest, ok := bytes.Cut(text, []byte("] ")); ok && text[0] == '[' {
		text = rest
	}
	b.log.Log(context.Background(), level, "gossip", "says", string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	return len(line), nil
}
