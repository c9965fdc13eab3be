package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	bankAccounts = 6
	bankBalance  = 100
)

// bank moves money between accounts in different partitions from several clients
// at once, looks now and then at all of them, and remembers who read and wrote
// what.
type bank struct {
	t    *testing.T
	r    *Router
	id   space.ID
	keys []string
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	entries []*bankEntry // by number - 1
	audits  int
}

// bankEntry is one transaction: what it read, and what is known of its outcome.
type bankEntry struct {
	reads     map[string]space.Seq
	writes    []string
	committed bool
	settled   bool // the outcome is known
}

// account reads an account: its balance, its version, and the transaction that
// wrote it.
func (b *bank) accounts(ctx context.Context, keys []string) (balances map[string]int, versions map[string]space.Seq, err error) {
	lookups := make([]*Lookup, len(keys))
	for i, key := range keys {
		lookups[i] = &Lookup{Get: Get{Partition: at(b.r, key), Space: b.id, Key: []byte(key)}}
	}
	b.r.Read(ctx, Linearizable, lookups)
	balances, versions = map[string]int{}, map[string]space.Seq{}
	for i, l := range lookups {
		if l.Err != nil {
			return nil, nil, l.Err
		}
		n, _ := parseAccount(b.t, l.Found.Entry.Value)
		balances[keys[i]], versions[keys[i]] = n, l.Found.Entry.Version
	}
	return balances, versions, nil
}

func parseAccount(t *testing.T, value []byte) (balance, writer int) {
	if _, err := fmt.Sscanf(string(value), "%d by %d", &balance, &writer); err != nil {
		t.Errorf("an account is %q", value)
	}
	return balance, writer
}

// transact does one transfer, or an audit if there is no amount.
func (b *bank) transact(amount int, keys []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	balances, versions, err := b.accounts(ctx, keys)
	if err != nil {
		return
	}
	e := &bankEntry{reads: versions}
	b.mu.Lock()
	b.entries = append(b.entries, e)
	number := len(b.entries)
	b.mu.Unlock()
	var parts []*TxnPart
	for i, key := range keys {
		part := partOf(b.r, space.Op{Code: space.OpCheck, Space: b.id, Key: []byte(key), Match: versions[key]})
		if delta := []int{-amount, amount, 0}[min(i, 2)]; delta != 0 {
			part.Ops = append(part.Ops, writeOp(b.id, key, fmt.Sprintf("%d by %d", balances[key]+delta, number)))
			e.writes = append(e.writes, key)
		}
		parts = append(parts, part)
	}
	err = b.r.Transact(ctx, parts)
	unknown, isUnknown := errors.AsType[*TxnUnknownError](err)
	e.committed, e.settled = err == nil, !isUnknown
	if isUnknown {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if e.committed, err = b.r.TxnStatus(ctx, unknown.Ref); err != nil {
			b.t.Errorf("the status of a transaction cannot be had for a minute: %v", err)
		}
		e.settled = err == nil
	}
	if e.committed && amount == 0 && len(keys) == len(b.keys) {
		sum := 0
		for _, n := range balances {
			sum += n
		}
		if sum != bankAccounts*bankBalance {
			b.t.Errorf("an audit finds %d: %v", sum, balances)
		}
		b.mu.Lock()
		b.audits++
		b.mu.Unlock()
	}
}

func (b *bank) work(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for {
		select {
		case <-b.stop:
			return
		case <-time.After(time.Duration(rng.IntN(60)) * time.Millisecond):
		}
		if rng.IntN(4) == 0 {
			b.transact(0, b.keys)
			continue
		}
		some := slices.Clone(b.keys)
		rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		b.transact(1+rng.IntN(9), some[:2+rng.IntN(2)])
	}
}

// check compares what the changelogs say with what the clients know: committed
// transactions are there in whole, others not at all, all in one serial order.
func (b *bank) check(g *rig) {
	versions, writer := b.history(g)
	follows := map[int][]int{}
	commits := 0
	for i, e := range b.entries {
		n := i + 1
		found := 0
		for _, key := range e.writes {
			if slices.Contains(slices.Collect(maps.Values(writer[key])), n) {
				found++
			}
		}
		if want := map[bool]int{true: len(e.writes)}[e.committed]; e.settled && found != want || found != 0 && found != len(e.writes) {
			b.t.Errorf("transaction %d (committed: %v) left %d of %d writes", n, e.committed, found, len(e.writes))
		}
		if !e.committed {
			continue
		}
		commits++
		for key, read := range e.reads {
			at := slices.Index(versions[key], read)
			if at < 0 {
				b.t.Fatalf("transaction %d read version %d of %s, which there never was", n, read, key)
			}
			follows[n] = append(follows[n], writer[key][read])
			if at+1 < len(versions[key]) {
				if next := writer[key][versions[key][at+1]]; next != n {
					follows[next] = append(follows[next], n)
				}
			}
		}
	}
	if cycle := check.Cycle(follows); cycle != nil {
		b.t.Errorf("no serial order: %v", cycle)
	}
	b.t.Logf("%d of %d transactions are committed, %d of them audits", commits, len(b.entries), b.audits)
	if commits < len(b.entries)/10 || b.audits == 0 {
		b.t.Error("too few to say anything")
	}
}

// history reads from the changelogs which transaction made which version.
func (b *bank) history(g *rig) (versions map[string][]space.Seq, writer map[string]map[space.Seq]int) {
	versions, writer = map[string][]space.Seq{}, map[string]map[space.Seq]int{}
	for _, n := range g.nodes {
		for i := range n.groups {
			h := n.groups[i].Load()
			if h == nil || h.serving() == nil {
				continue
			}
			for _, p := range h.host.all() {
				changes, err := p.Changelog().Read(nil, 0, 1<<30)
				if err != nil {
					b.t.Fatal(err)
				}
				for _, c := range changes {
					if c.Space != b.id || c.Op == space.Defined {
						continue
					}
					key := string(c.Key)
					if writer[key] == nil {
						writer[key] = map[space.Seq]int{}
					}
					_, writer[key][c.Seq] = parseAccount(b.t, c.Value)
					versions[key] = append(versions[key], c.Seq)
				}
			}
		}
	}
	return versions, writer
}

// TestMoneyIsNeitherMadeNorLost: while leaders die and come back and clients are
// cut off, transfers between partitions take effect in whole or not at all, in a
// serial order, and whoever adds all accounts up in a transaction finds the same
// sum.
func TestMoneyIsNeitherMadeNorLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		dial := g.net.Dialer("client")
		topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
		r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
		defer topology.Close()
		defer r.Close()
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := &bank{t: t, r: r, id: defaultSpace(t, r), keys: keysApart(r, bankAccounts), stop: make(chan struct{})}
		for _, key := range b.keys {
			write(t, r, b.id, key, fmt.Sprintf("%d by 0", bankBalance))
		}
		for w := range 3 {
			b.wg.Go(func() { b.work(uint64(w)) })
		}
		for _, victim := range []string{"a", "b", "c"} {
			time.Sleep(time.Second)
			g.crash(victim)
			time.Sleep(2 * time.Second)
			g.start(victim)
			g.ready()
			g.eventually("the cluster is whole again", g.whole)
			g.net.Cut("client", victim)
			time.Sleep(2 * time.Second)
			g.net.Heal("client", victim)
		}
		time.Sleep(time.Second)
		close(b.stop)
		b.wg.Wait()
		g.eventually("nothing is left prepared", func() bool {
			left := 0
			for _, n := range g.nodes {
				for i := range n.groups {
					if h := n.groups[i].Load(); h != nil {
						err := h.group.Inspect(t.Context(), func() {
							for _, p := range h.host.all() {
								left += p.Status().Prepared
							}
						})
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			return left == 0
		})
		b.transact(0, b.keys)
		b.check(g)
		g.agree()
	})
}
