package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

// addElement writes what nobody has written before.
func (c *crowd) addElement(ctx context.Context, client int, _ *rand.Rand) {
	id := fmt.Sprintf("e%d-%d", client, c.h.clock.Add(1))
	_, err := c.elements[client].Write(ctx, element{id, client}, grid.IfAbsent())
	if errors.Is(err, grid.ErrExists) {
		c.w.t.Errorf("element %s, which nobody has written, is there", id)
	}
	out := c.outcome(err)
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.elements[id] = out
	if out == check.Done {
		c.h.acked = append(c.h.acked, id)
	}
}

// findElement reads what was acknowledged, to whomever: it must be there.
func (c *crowd) findElement(ctx context.Context, client int, rng *rand.Rand) {
	c.h.mu.Lock()
	n := len(c.h.acked)
	if n == 0 {
		c.h.mu.Unlock()
		return
	}
	id := c.h.acked[n-1-min(rng.IntN(n), rng.IntN(n))]
	c.h.mu.Unlock()
	if _, err := c.elements[client].Read(ctx, id); errors.Is(err, grid.ErrNotFound) {
		c.w.t.Errorf("element %s was acknowledged and is not found", id)
	}
}

// giveJob writes a job that somebody will take.
func (c *crowd) giveJob(ctx context.Context, client int, rng *rand.Rand) {
	n := c.h.clock.Add(1)
	j := job{fmt.Sprintf("j%d-%d", client, n), kindName(rng), n}
	_, err := c.jobs[client].Write(ctx, j, grid.IfAbsent())
	w := check.Write{Entry: check.Entry{Key: j.ID, Kind: j.Kind, Number: j.Number}, Outcome: c.outcome(err)}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.jobs.Writes = append(c.h.jobs.Writes, w)
}

func kindName(rng *rand.Rand) string { return fmt.Sprint("kind-", rng.IntN(kinds)) }

// takeJob takes any job of a kind, and waits for one if there is none.
func (c *crowd) takeJob(ctx context.Context, client int, rng *rand.Rand) {
	kind := kindName(rng)
	wait := time.Duration(rng.IntN(3)) * 500 * time.Millisecond
	j, err := c.jobs[client].TakeMatch(ctx, grid.Template{"kind": kind}, grid.Wait(wait))
	if errors.Is(err, grid.ErrNotFound) {
		return
	}
	t := check.Take{Wanted: kind, Outcome: c.outcome(err)}
	if err == nil {
		t.Entry = check.Entry{Key: j.ID, Kind: j.Kind, Number: j.Number}
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.jobs.Takes = append(c.h.jobs.Takes, t)
}

// transfer moves coins from one account to another, and writes a bill: all of it
// or nothing. The three lie in different partitions as a rule.
func (c *crowd) transfer(ctx context.Context, client int, rng *rand.Rand) {
	from, to := rng.IntN(accounts), rng.IntN(accounts-1)
	if to >= from {
		to++
	}
	b := bill{fmt.Sprintf("b%d-%d", client, c.h.clock.Add(1)), accountName(from), accountName(to), 1 + rng.IntN(largestSum)}
	c.w.transfers.Add(1)
	defer c.w.transfers.Add(-1)
	err := c.all[client].Transact(ctx, func(tx *grid.Tx) error {
		accounts := c.accounts[client].In(tx)
		x, err := accounts.Read(b.From)
		if err != nil {
			return err
		}
		y, err := accounts.Read(b.To)
		if err != nil {
			return err
		}
		x.Coins -= b.Coins
		y.Coins += b.Coins
		return errors.Join(accounts.Write(x), accounts.Write(y), c.bills[client].In(tx).Write(b))
	})
	out := c.outcome(err)
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.bills[b.ID], c.h.sent[b.ID] = out, b
}

// audit counts the coins of all accounts in one transaction.
func (c *crowd) audit(ctx context.Context, client int, _ *rand.Rand) {
	sum := 0
	err := c.all[client].Transact(ctx, func(tx *grid.Tx) error {
		sum = 0
		for i := range accounts {
			a, err := c.accounts[client].In(tx).Read(accountName(i))
			if err != nil {
				return err
			}
			sum += a.Coins
		}
		return nil
	})
	if err == nil && sum != accounts*coins {
		c.w.t.Errorf("a transaction sees %d coins, there are %d", sum, accounts*coins)
	}
}

// follow keeps a copy of all elements by following their changes, in pieces: every
// now and then the watch is given up and goes on at its cursor through another
// member.
func (c *crowd) follow() {
	rng := rand.New(rand.NewPCG(c.w.o.Seed, 99))
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		default:
		}
		c.follower.watch(c.all[i%clients], 200*time.Millisecond+time.Duration(rng.Int64N(int64(2*time.Second))))
	}
}

// follower is a copy of the elements.
type follower struct {
	c      *crowd
	cursor grid.Cursor
	at     map[space.PartitionID]uint64 // the last change of each partition
	in     map[string]space.PartitionID
}

// catchUp follows until it has heard of everything that was acknowledged, or until
// it is plain that it never will, when nothing changes any more.
func (f *follower) catchUp() {
	for range 20 {
		f.watch(f.c.all[0], time.Second)
		if f.complete() {
			break
		}
	}
	f.watch(f.c.all[0], time.Second) // and of what was not acknowledged
}

func (f *follower) complete() bool {
	f.c.h.mu.Lock()
	defer f.c.h.mu.Unlock()
	for _, id := range f.c.h.acked {
		if _, heard := f.c.h.mirror[id]; !heard {
			return false
		}
	}
	return true
}

// watch follows for some time.
func (f *follower) watch(g *grid.Grid, long time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	w, err := g.Watch(ctx, "elements", grid.WatchOptions{From: f.cursor})
	if err != nil {
		<-ctx.Done() // Nobody answers; the next one may.
		return
	}
	if f.cursor != "" {
		f.c.w.reached.Note(WatchResumed)
	} else {
		f.begin()
	}
	for e, err := range w.Events(ctx) {
		if err != nil {
			break
		}
		f.event(&e)
	}
	f.cursor = w.Settled()
}

// begin forgets everything: a snapshot follows.
func (f *follower) begin() {
	clear(f.at)
	clear(f.in)
	f.c.h.mu.Lock()
	defer f.c.h.mu.Unlock()
	clear(f.c.h.mirror)
}

func (f *follower) event(e *grid.Event) {
	h := f.c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	id := string(e.Entry.Key)
	switch e.Kind {
	case grid.Reset:
		f.c.w.reached.Note("a follower was reset: " + e.Cause)
		for id, p := range f.in {
			if p == e.Partition {
				delete(f.in, id)
				delete(h.mirror, id)
			}
		}
		delete(f.at, e.Partition)
	case grid.Snapshot:
		f.in[id], h.mirror[id] = e.Partition, e.Entry.Version
	case grid.Written:
		if _, twice := h.mirror[id]; twice {
			f.c.w.t.Errorf("a follower heard of element %s twice", id)
		}
		if uint64(e.Seq) <= f.at[e.Partition] {
			f.c.w.t.Errorf("a follower heard of change %d of partition %d after %d", e.Seq, e.Partition, f.at[e.Partition])
		}
		f.at[e.Partition] = uint64(e.Seq)
		f.in[id], h.mirror[id] = e.Partition, e.Entry.Version
	case grid.SnapshotEnd, grid.Mark:
	default:
		f.c.w.t.Errorf("a follower heard that element %s is %d; it was only ever added", id, e.Kind)
	}
}
