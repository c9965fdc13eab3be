package sim

import (
	"context"
	"fmt"
	"path"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid"
)

// serveTime is how soon a majority has to serve when the faults that concern it
// have ended.
const serveTime = 30 * time.Second

// Run runs a cluster as options say, judges what its clients have seen, and
// returns which rare states it went through. It has to be called by the goroutine
// of a test.
func Run(t *testing.T, o Options) *Reached {
	t.Helper()
	t.Logf("seed %d: %s", o.Seed, o)
	began := time.Now()
	var w *world
	var c *crowd
	var left *remains
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, o)
		defer w.end()
		for _, m := range w.members {
			w.start(m)
		}
		w.ready()
		w.settled()
		w.formed.Store(true)
		c = newCrowd(w)
		defer c.close()
		left = w.run(c)
	})
	if left != nil {
		for _, finding := range left.judge(c.h) {
			t.Error(finding)
		}
		t.Logf("seed %d: %v of the machine's time, %d requests carried out, %d digests compared", o.Seed,
			time.Since(began).Round(time.Millisecond), c.h.served, w.states.compared)
	}
	if t.Failed() {
		t.Logf("seed %d has failed: %s\n%s", o.Seed, o, w.reached)
	}
	return w.reached
}

// run lets the faults and the clients go on, brings everything to rest, and
// returns what is left.
func (w *world) run(c *crowd) *remains {
	// A run that fails ends here as well, and leaves nobody behind.
	unwatch := w.lookOn()
	defer unwatch()
	defer c.end()
	c.begin()
	// The rest is drawn; these are part of every run.
	always := []int{isolation, powerLoss, diskLoss}
	for start := time.Now(); time.Since(start) < w.o.Length || len(always) > 0; {
		w.fault(w.rng.IntN(faults))
		if len(always) > 0 {
			w.fault(always[0])
			always = always[1:]
		}
	}
	if w.o.Liveness {
		w.liveness()
	}
	c.end()
	w.heal()
	unwatch()
	w.ready()
	w.settled()
	w.count()
	c.follower.catchUp()
	if w.o.ColdStart {
		w.coldStart()
	}
	return w.collect()
}

// liveness breaks a minority for good, in one of several ways, and demands that
// the others serve soon: every partition takes a write.
func (w *world) liveness() {
	w.ready()
	w.whole()
	minority := w.rng.Perm(len(w.members))[:(len(w.members)-1)/2]
	var crashed []*member
	defer func() {
		for _, m := range slices.Backward(crashed) {
			w.start(m)
		}
	}()
	for _, i := range minority {
		switch m := w.members[i]; w.rng.IntN(3) {
		case 0:
			w.crash(m)
			crashed = append(crashed, m)
		case 1:
			w.isolate(m, true)
		case 2:
			w.oneWay(m, w.rng.IntN(2) == 0)
		}
	}
	g := w.client(clients) // it is on no host that anybody is cut off from
	defer func() { _ = g.Close() }()
	elements := open[element](w, g, "elements")
	ctx, cancel := context.WithTimeout(context.Background(), serveTime)
	defer cancel()
	for i := range 4 * w.o.Partitions {
		if _, err := elements.Write(ctx, element{fmt.Sprintf("served-%d", i), -1}); err != nil {
			w.t.Errorf("a majority is whole and does not serve within %v: %v%s", serveTime, err, w.describe())
			return
		}
	}
	w.reached.Note(Served)
}

// coldStart stops the cluster, takes all logs away and starts it from its stores.
func (w *world) coldStart() {
	for _, m := range w.members {
		g := m.life.g
		w.mu.Lock()
		m.life = nil
		w.mu.Unlock()
		if err := g.Close(); err != nil {
			w.t.Errorf("%s does not stop well: %v", m.name, err)
		}
	}
	for _, m := range w.members {
		if err := m.disk.RemoveAll(path.Join(dataFolder, "raft")); err != nil {
			w.t.Fatal(err)
		}
		w.start(m)
	}
	w.ready()
	w.settled()
	w.reached.Note(StartedCold)
}

func newDisk() *vfs.MemFS { return vfs.NewCrashableMem() }

// remains is what a cluster holds when everything is at rest.
type remains struct {
	elements map[string]grid.Version
	jobs     []job
	accounts map[string]int
	bills    map[string]bill
	cold     bool // versions are those of another history
}

// collect reads everything.
func (w *world) collect() *remains {
	left := &remains{elements: map[string]grid.Version{}, accounts: map[string]int{}, bills: map[string]bill{}, cold: w.o.ColdStart}
	g := w.client(clients + 1)
	defer func() { _ = g.Close() }()
	each(w, g, "elements", func(e element, v grid.Version) { left.elements[e.ID] = v })
	each(w, g, "jobs", func(j job, _ grid.Version) { left.jobs = append(left.jobs, j) })
	each(w, g, "accounts", func(a account, _ grid.Version) { left.accounts[a.Name] = a.Coins })
	each(w, g, "bills", func(b bill, _ grid.Version) { left.bills[b.ID] = b })
	return left
}

// each visits all entries of a space.
func each[T any](w *world, g *grid.Grid, name string, visit func(T, grid.Version)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for e, err := range g.Query(ctx, name, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			w.t.Fatalf("reading what is left of %s: %v", name, err)
		}
		var v T
		if err := grid.Unmarshal(e.Value, &v); err != nil {
			w.t.Fatal(err)
		}
		visit(v, e.Version)
	}
}
