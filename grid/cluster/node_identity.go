package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
)

const (
	// formerWait is how long a member that knows nothing of an earlier life waits
	// for others to ask. Those that it does not see by then tell it later.
	formerWait = time.Second
	// nextLife is how far apart the incarnations of two lives are at least. Its
	// replicas count on from a member's incarnation, one for each bootstrap.
	nextLife = 1 << 20
)

// identify settles name, incarnation and boot, and keeps them. What is in memory
// gets an incarnation that no earlier life can have had, as far as the clock of
// this host tells; see outlive.
func (n *Node) identify() error {
	fresh := uint64(n.cfg.Wall().UnixNano())
	n.name, n.incarnation, n.boot = n.cfg.Name, fresh, 1
	control := fresh
	n.fresh = true
	if n.storage != nil {
		kept, err := n.meta(metaName)
		if err != nil {
			return err
		}
		if n.name == "" {
			n.name = MemberID(kept)
		}
		if len(kept) > 0 && string(kept) != string(n.name) {
			return fmt.Errorf("cluster: the folder %s belongs to member %q, not %q (give it its name, or another folder)", n.cfg.Dir, kept, n.name)
		}
		if control, err = n.keptNumber(metaIncarnation, fresh); err != nil {
			return err
		}
		if control, err = n.renewed(control); err != nil {
			return err
		}
		boot, err := n.keptNumber(metaBoot, 0)
		if err != nil {
			return err
		}
		n.boot, n.fresh = boot+1, len(kept) == 0 || n.cfg.Durability != Disk
		if n.aside, err = replica.Aside(n.logs(), n.cfg.Dir); err != nil {
			return err
		}
	}
	if n.name == "" {
		n.name = MemberID("m" + strconv.FormatUint(rand.Uint64()>>32|1<<32, 36))
	}
	if err := CheckMemberID(n.name); err != nil {
		return err
	}
	if n.cfg.Durability == Disk {
		n.incarnation = control
	}
	n.log = n.log.With("member", string(n.name))
	return n.keep(control)
}

// renewed returns the incarnation that told has made a note of, if it is above kept.
// What the control group has sent to the life before meanwhile is dropped: that one
// was told while it had nothing.
func (n *Node) renewed(kept uint64) (uint64, error) {
	next, err := n.keptNumber(metaNext, 0)
	if err != nil || next <= kept {
		return kept, err
	}
	return next, errors.Join(n.storage.DropGroup(uint32(ControlGroup)), replica.RemoveSnapshots(n.snapshots(ControlGroup)))
}

// keep makes the identity durable, and the control incarnation part of it.
func (n *Node) keep(control uint64) error {
	n.controlID = replica.ServerID{Member: string(n.name), Incarnation: control}
	if n.storage == nil {
		return nil
	}
	// The name comes last: with it the folder is one that has been used.
	return errors.Join(
		n.storage.SetMeta(metaIncarnation, binary.AppendUvarint(nil, control)),
		n.storage.SetMeta(metaBoot, binary.AppendUvarint(nil, n.boot)),
		n.storage.SetMeta(metaName, []byte(n.name)),
	)
}

// outlive gives a member that has no memory of an earlier life an incarnation above
// all that the others in sight know of it. A clock that was set back would give it
// a lower one, which they refuse for ever.
func (n *Node) outlive() error {
	if !n.fresh || n.gossip == nil || len(n.cfg.Seeds) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, formerWait)
	defer cancel()
	select {
	case <-n.gossip.Joined():
	case <-ctx.Done():
	}
	former := n.former(ctx)
	if former < n.incarnation {
		return nil
	}
	n.log.Warn("others know of an earlier life of this member that the clock puts after this one", "incarnation", former)
	control := n.controlID.Incarnation
	if control == n.incarnation {
		control = former + nextLife
	}
	n.incarnation = former + nextLife
	return errors.Join(n.keep(control), n.gossip.UpdateMeta(n.describe()))
}

// former asks every member of a cluster in sight which incarnation of this member
// it knows, and returns the greatest.
func (n *Node) former(ctx context.Context) uint64 {
	var mu sync.Mutex
	var greatest uint64
	var wg sync.WaitGroup
	for _, p := range n.peers() {
		if p.Member == n.name || p.Flags&FlagAdmitted == 0 {
			continue
		}
		wg.Go(func() {
			answer, err := n.probe(ctx, p.Member, probe{Asker: n.name})
			if err != nil {
				return // Somebody else may know; who admits this member tells it too.
			}
			mu.Lock()
			defer mu.Unlock()
			greatest = max(greatest, answer.Former)
		})
	}
	wg.Wait()
	return greatest
}

// errTooLow is why a member stops by itself when it is told that its incarnation is
// not above that of its former life.
var errTooLow = errors.New("cluster: the clock of this host was set back, and the others know a later life of this member (start it again: it has made a note of it)")

// told hears from a member that admits others which incarnation of this one it
// knows. One that has nothing yet and is below it takes a greater one with the next
// start.
func (n *Node) told(known uint64) {
	if !n.fresh || known <= n.incarnation || !n.blank() {
		return
	}
	n.outranked.Do(func() {
		err := errTooLow
		if n.storage != nil && n.cfg.Durability == Disk {
			err = errors.Join(err, n.storage.SetMeta(metaNext, binary.AppendUvarint(nil, known+nextLife)))
		}
		n.log.Error("this member must be started again", "err", err, "known", known)
		if n.cfg.Logs.OnFatal != nil {
			n.cfg.Logs.OnFatal(err)
			return
		}
		// Close waits for who has asked.
		go func() { _ = n.Close() }()
	})
}

// meta returns a record of the member, nil if there is none.
func (n *Node) meta(name string) ([]byte, error) {
	b, err := n.storage.Meta(name)
	if errors.Is(err, replica.ErrNoMeta) {
		return nil, nil
	}
	return b, err
}

func (n *Node) keptNumber(name string, otherwise uint64) (uint64, error) {
	b, err := n.meta(name)
	if err != nil || b == nil {
		return otherwise, err
	}
	v, k := binary.Uvarint(b)
	if k != len(b) {
		return 0, &CorruptError{What: "record " + name + " of the member"}
	}
	return v, nil
}
