package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	claimSpace = "chaos-claims"
	claimLanes = 4
	// groupSize is how many jobs a group gets; then its writer begins another.
	groupSize = 25
	// claimLease is short, so that many claims end by themselves.
	claimLease = 1500 * time.Millisecond
	// tooLate is how long after the end of its claim a late acknowledgement comes.
	tooLate = 300 * time.Millisecond
	// claimWait is how long a claim waits for something to do.
	claimWait = 500 * time.Millisecond
	// quietClaims is how many claims in a row have to find nothing at the end:
	// longer than a lease in all, so that nothing is hidden any more.
	quietClaims = 3
)

// What holders do otherwise than to acknowledge, each in so many of a hundred
// claims.
const (
	nackPercent    = 8
	abandonPercent = 5
	extendPercent  = 5
	latePercent    = 4
)

// Claims is a queue of jobs in groups: claims with a lease that are acknowledged,
// given back, left alone, prolonged, or acknowledged too late. Every job is done
// once, in the order of its group; tokens only grow, and whoever comes with an old
// one is sent away.
type Claims struct {
	mu     sync.Mutex
	groups map[int]*jobGroup // by the client that writes it
	made   int
}

// jobGroup is a group that a client writes.
type jobGroup struct {
	name string
	last int
	shut bool // nobody knows whether its last job is there
}

// job is what is claimed.
type job struct {
	Place int64  `grid:"place,key"`
	Group string `grid:"group,routing,group"`
	Lane  string `grid:"lane,index"`
}

// Name implements Workload.
func (w *Claims) Name() string { return "claims" }

// Prepare implements Workload.
func (w *Claims) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[job](ctx, g, claimSpace)
		return err
	})
}

// Run implements Workload.
func (w *Claims) Run(ctx context.Context, p Place, h *History, o Options) error {
	w.groups = map[int]*jobGroup{}
	return newCrew(p, h, o).run(ctx, func(ctx context.Context, c *client) {
		if c.rand.IntN(100) < 40 {
			w.write(ctx, c)
			return
		}
		lane := laneOf(h, c.rand.IntN(claimLanes))
		if claim := c.do(ctx, Op{Kind: "claim", Expect: lane, Number: claimWait.Nanoseconds()}, claimJob); claim != nil && claim.Token != nil {
			w.settle(ctx, c, claim)
		}
	})
}

func laneOf(h *History, n int) string { return fmt.Sprintf("lane-%s-%d", h.Mark(), n%claimLanes) }

// group returns the group that a client goes on with.
func (w *Claims) group(c *client) *jobGroup {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[c.id]
	if g == nil || g.shut || g.last >= groupSize {
		w.made++
		g = &jobGroup{name: fmt.Sprintf("group-%s-%d", c.history.Mark(), w.made)}
		w.groups[c.id] = g
	}
	return g
}

// write adds a job to the client's group. A refused one is tried again as the next
// operation; after an unknown outcome the group is left alone.
func (w *Claims) write(ctx context.Context, c *client) {
	g := w.group(c)
	lane := laneOf(c.history, len(g.name)+c.id)
	done := c.do(ctx, Op{Kind: "write", Key: g.name, Number: int64(g.last + 1), Expect: lane}, func(ctx context.Context, at *grid.Grid, op *Op) error {
		v, err := writeTo(ctx, at, claimSpace, job{Place: op.Number, Group: op.Key, Lane: op.Expect})
		op.Version = uint64(v)
		return err
	})
	if done == nil || done.Outcome == check.Refused {
		return
	}
	g.last++
	g.shut = done.Outcome == check.Unknown
}

// claimJob claims a job of the lane Expect. It is done without a token if there was
// none.
func claimJob(ctx context.Context, g *grid.Grid, op *Op) error {
	claims, err := g.ClaimMatch(ctx, claimSpace, grid.Template{"lane": op.Expect}, grid.ClaimOptions{
		Lease: claimLease, Wait: time.Duration(op.Number),
	})
	if errors.Is(err, grid.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var j job
	if len(claims) != 1 {
		op.Bad = fmt.Sprintf("a claim of one entry returned %d", len(claims))
		return nil
	}
	if err := grid.Unmarshal(claims[0].Entry.Value, &j); err != nil {
		op.Bad = "what was claimed is no job: " + err.Error()
		return nil //nolint:nilerr // the record says it
	}
	t := claims[0].Token
	op.Key, op.Token = j.Group, &check.Token{Epoch: uint64(t.Epoch), Number: uint64(t.Number)}
	op.Rows = []Row{{Key: string(claims[0].Entry.Key), Number: j.Place, Version: uint64(claims[0].Entry.Version)}}
	return nil
}

// settle does something with a claim.
func (w *Claims) settle(ctx context.Context, c *client, claim *Op) {
	dice := c.rand.IntN(100)
	op := Op{Kind: "ack", Key: claim.Key, Token: claim.Token, Rows: claim.Rows, At: claim.N}
	switch {
	case dice < nackPercent:
		op.Kind = "nack"
	case dice < nackPercent+abandonPercent:
		return
	case dice < nackPercent+abandonPercent+extendPercent:
		extend := op
		extend.Kind = "extend"
		c.do(ctx, extend, settleJob)
	case dice < nackPercent+abandonPercent+extendPercent+latePercent:
		pause(ctx, claimLease+tooLate)
	}
	c.do(ctx, op, settleJob)
}

// settleJob ends or prolongs the claim of the operation.
func settleJob(ctx context.Context, g *grid.Grid, op *Op) error {
	key := []byte(op.Rows[0].Key)
	t, err := grid.ParseToken(fmt.Sprintf("%d-%d", op.Token.Epoch, op.Token.Number))
	if err != nil {
		return refusedf("token: %w", err)
	}
	switch op.Kind {
	case "ack":
		return g.Ack(ctx, claimSpace, key, t)
	case "nack":
		return g.Nack(ctx, claimSpace, key, t, grid.NackOptions{})
	}
	return g.Extend(ctx, claimSpace, key, t, claimLease)
}

// Finish implements Workload: everything that can be claimed is, and acknowledged,
// until nothing is left or hidden.
func (w *Claims) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for quiet := 0; quiet < quietClaims && ctx.Err() == nil; {
			quiet++
			for lane := range claimLanes {
				wait := int64(0)
				if lane == 0 {
					wait = claimLease.Nanoseconds()
				}
				for {
					claim := c.insist(ctx, Op{Kind: "claim", Expect: laneOf(h, lane), Number: wait}, claimJob)
					if claim == nil || claim.Token == nil {
						break
					}
					quiet = 0
					c.do(ctx, Op{Kind: "ack", Key: claim.Key, Token: claim.Token, Rows: claim.Rows, At: claim.N}, settleJob)
				}
			}
		}
		for lane := range claimLanes {
			c.insist(ctx, Op{Kind: "left", Expect: laneOf(h, lane)}, leftJobs)
		}
	})
}

// leftJobs reads what is there of a lane.
func leftJobs(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	for e, err := range g.Query(ctx, claimSpace, grid.Template{"lane": op.Expect}, grid.QueryOptions{}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		var j job
		if err := grid.Unmarshal(e.Value, &j); err != nil {
			op.Bad = "what is left is no job: " + err.Error()
			continue
		}
		op.Rows = append(op.Rows, Row{Key: j.Group, Number: j.Place, Version: uint64(e.Version)})
	}
	return nil
}

// placeOK reports whether a group has a place of this number.
func placeOK(n int64) bool { return n >= 1 && n <= groupSize }

// Judge implements Workload.
func (w *Claims) Judge(h *History) *Verdict {
	v := tally(h)
	var all check.ClaimHistory
	grants := map[int]int{} // by the line of the claim
	written := map[check.Job]int{}
	left := 0
	for op := range h.of("write", "claim", "ack", "left") {
		switch op.Kind {
		case "write":
			j := check.Job{Group: op.Key, Place: int(op.Number)}
			if !placeOK(op.Number) {
				v.malformed(op, "a group has no such place")
				continue
			}
			if n, again := written[j]; again { // it was refused before
				all.Writes[n].Outcome = op.Outcome
				continue
			}
			written[j] = len(all.Writes)
			all.Writes = append(all.Writes, check.JobWrite{Job: j, Outcome: op.Outcome})
		case "claim":
			if op.Token == nil || len(op.Rows) == 0 {
				continue
			}
			if !placeOK(op.Rows[0].Number) {
				v.malformed(op, "a group has no such place")
				continue
			}
			grants[op.N] = len(all.Grants)
			all.Grants = append(all.Grants, check.Grant{
				Job: check.Job{Group: op.Key, Place: int(op.Rows[0].Number)}, Token: *op.Token,
				Holder: op.Client + " in line " + strconv.Itoa(op.N), Asked: op.Call, Got: op.Return,
			})
		case "ack":
			if n, ok := grants[op.At]; ok {
				g := &all.Grants[n]
				g.Acked, g.Ack, g.AckAsked, g.AckGot = true, op.Outcome, op.Call, op.Return
			}
		case "left":
			if op.Outcome != check.Done {
				continue
			}
			left++
			for _, r := range op.Rows {
				if !placeOK(r.Number) {
					v.malformed(op, "a group has no such place")
					continue
				}
				all.Left = append(all.Left, check.Job{Group: r.Key, Place: int(r.Number)})
			}
		}
	}
	found := check.Claims(&all)
	if left < claimLanes {
		// Nobody knows what is left, so that nothing can be missed.
		v.Unknown, found.Lost = claimLanes-left, 0
	}
	v.AckedLost, v.DoubleApplies, v.Stale = found.Lost, found.DoublyAcked, found.StaleAcks
	v.Duplicated, v.Phantom = found.Regranted, found.Phantom
	v.Wrong += found.OutOfOrder + found.TokensBack
	v.complain(found.Complaints...)
	return v
}
