package sim

import (
	"context"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
)

// The faults that have a name; all are numbers below faults.
const (
	isolation = 0
	powerLoss = 9
	diskLoss  = 10
	faults    = 11
)

// fault does something bad for a while and undoes it.
func (w *world) fault(which int) {
	rest := func(least, most time.Duration) { time.Sleep(least + time.Duration(w.rng.Int64N(int64(most-least)))) }
	m := w.target()
	switch which {
	case isolation: // nobody hears it and it hears nobody, clients included
		w.isolate(m, true)
		rest(500*time.Millisecond, 3*time.Second)
	case 1: // clients still reach it
		w.isolate(m, false)
		rest(500*time.Millisecond, 3*time.Second)
	case 2: // it hears nobody
		w.oneWay(m, false)
		rest(300*time.Millisecond, 2*time.Second)
	case 3: // nobody hears it
		w.oneWay(m, true)
		rest(300*time.Millisecond, 2*time.Second)
	case 4: // one link
		o := w.other(m)
		w.cutOneWay(m.name, o.name)
		w.cutOneWay(o.name, m.name)
		rest(300*time.Millisecond, 2*time.Second)
	case 5: // all is slow, and connections break
		for _, a := range w.members {
			for _, b := range w.members {
				w.net.Delay(a.name, b.name, time.Duration(w.rng.Int64N(int64(300*time.Millisecond))))
			}
		}
		w.net.Reset(m.name, w.other(m).name)
		rest(300*time.Millisecond, 2*time.Second)
	case 6: // answers get lost
		for i := range clients {
			w.net.CutOneWay(m.name, clientHost(i))
		}
		rest(100*time.Millisecond, 600*time.Millisecond)
		for i := range clients {
			w.net.Reset(m.name, clientHost(i))
		}
	case 7, 8:
		w.restart(m)
	case powerLoss:
		if w.o.Disk {
			w.powerFailure()
		}
	case diskLoss:
		w.loseDisk(m)
	}
	w.heal()
	rest(200*time.Millisecond, 2*time.Second)
}

// target returns a member to trouble, mostly one that leads a partition.
func (w *world) target() *member {
	m := w.members[w.rng.IntN(len(w.members))]
	if w.rng.IntN(4) == 0 {
		return m
	}
	for range 2 * len(w.members) {
		if w.leads(m) {
			return m
		}
		m = w.members[w.rng.IntN(len(w.members))]
	}
	return m
}

func (w *world) leads(m *member) bool {
	g := m.life.g
	for _, group := range g.Router().State().Groups {
		if w.serves(g, group.ID) {
			return true
		}
	}
	return false
}

func (w *world) serves(g *grid.Grid, id cluster.GroupID) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := g.Node().Hello(ctx, id)
	return err == nil
}

func (w *world) other(m *member) *member {
	for {
		if o := w.members[w.rng.IntN(len(w.members))]; o != m {
			return o
		}
	}
}

func (w *world) cutOneWay(from, to string) {
	w.net.CutOneWay(from, to)
	w.gossip.Cut(from, to)
}

// isolate cuts a member off from the others, and from clients.
func (w *world) isolate(m *member, clientsToo bool) {
	if m.life != nil && w.leads(m) {
		w.reached.Note(LeaderIsolated)
	}
	for _, o := range w.members {
		if o != m {
			w.cutOneWay(m.name, o.name)
			w.cutOneWay(o.name, m.name)
		}
	}
	for i := range clients {
		if clientsToo {
			w.net.Cut(m.name, clientHost(i))
		}
	}
}

// oneWay cuts the links from a member, or those to it.
func (w *world) oneWay(m *member, from bool) {
	for _, o := range w.members {
		switch {
		case o == m:
		case from:
			w.cutOneWay(m.name, o.name)
		default:
			w.cutOneWay(o.name, m.name)
		}
	}
}

// heal makes all links whole, though not of equal length.
func (w *world) heal() {
	hosts := []string{}
	for _, m := range w.members {
		hosts = append(hosts, m.name)
	}
	for i := range clients {
		hosts = append(hosts, clientHost(i))
	}
	for _, a := range hosts {
		for _, b := range hosts {
			if a == b {
				continue
			}
			w.net.Heal(a, b)
			w.net.Delay(a, b, time.Duration(w.rng.Int64N(int64(w.o.Slow)+1)))
			w.gossip.Heal(a, b)
		}
	}
}

// restart crashes a member and starts it again. Without a disk it comes back as
// one that has lost it.
func (w *world) restart(m *member) {
	if !w.o.Disk {
		w.loseDisk(m)
		return
	}
	w.crash(m)
	time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	w.start(m)
}

// powerFailure crashes all members at once.
func (w *world) powerFailure() {
	for _, m := range w.members {
		w.crash(m)
	}
	w.reached.Note(PowerFailed)
	time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	for _, i := range w.rng.Perm(len(w.members)) {
		w.start(w.members[i])
	}
}

// loseDisk brings a member back that has nothing. It waits until all replicas are
// there, before and after: with more than a minority lost there would be nothing
// to start from.
func (w *world) loseDisk(m *member) {
	w.heal()
	w.whole()
	w.crash(m)
	m.disk = newDisk()
	time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	w.start(m)
	w.reached.Note(DiskLost)
	w.whole()
}
