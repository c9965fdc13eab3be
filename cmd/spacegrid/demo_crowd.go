package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/processingunit"
)

const (
	// quietBuyers come each second before the burst.
	quietBuyers = 10
	// sellBudget bounds one request. It is longer than any failover.
	sellBudget = 8 * time.Second
	// maxTickets is the most that one buyer wants.
	maxTickets = 6
	// maxTries bounds how often one buyer asks before he gives up.
	maxTries = 40
	// hotness bends the choice towards the best seats: of so many random places
	// in the list of free seats, the best one is taken.
	hotness = 3
	// mapEvery is how old the seat map gets that buyers choose from. Two buyers
	// who look at the same map want the same seats.
	mapEvery = 150 * time.Millisecond
)

// seatMap is what the buyers' screens show: the seats that are free as far as
// anybody has heard, the best first.
type seatMap struct {
	seats []string
	gone  []atomic.Bool
	free  atomic.Pointer[[]int32]
}

func newSeatMap(seats []string) *seatMap {
	m := &seatMap{seats: seats, gone: make([]atomic.Bool, len(seats))}
	m.refresh()
	return m
}

// refresh renews what the screens show, and returns how many seats are free.
func (m *seatMap) refresh() int {
	free := make([]int32, 0, len(m.seats))
	for i := range m.gone {
		if !m.gone[i].Load() {
			free = append(free, int32(i))
		}
	}
	m.free.Store(&free)
	return len(free)
}

// pick chooses a seat, -1 if none is free.
func (m *seatMap) pick(r *rand.Rand) int {
	free := *m.free.Load()
	if len(free) == 0 {
		return -1
	}
	best := r.IntN(len(free))
	for range hotness - 1 {
		best = min(best, r.IntN(len(free)))
	}
	return int(free[best])
}

// crowd is the buyers: they arrive by a schedule that does not wait for answers.
type crowd struct {
	seats   *seatMap
	ledger  *ledger
	windows []*grid.Grid // the buyers' connections
	seed    uint64

	arrived atomic.Int64
	inside  atomic.Int64
	wg      sync.WaitGroup
}

// arrive lets n buyers come over a time, at random moments with even density, and
// returns when the last one has come or ctx ends. The first buyer's number is
// first.
func (c *crowd) arrive(ctx context.Context, first, n int, over time.Duration) {
	r := rand.New(rand.NewPCG(c.seed, uint64(first)))
	start := time.Now()
	due := time.Duration(0)
	for i := range n {
		// The sum of exponential pauses is a crowd without appointments.
		due += time.Duration(r.ExpFloat64() * float64(over) / float64(n))
		at := start.Add(due)
		if wait := time.Until(at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil || len(*c.seats.free.Load()) == 0 {
			return
		}
		c.arrived.Add(1)
		c.inside.Add(1)
		c.wg.Go(func() {
			defer c.inside.Add(-1)
			c.buy(ctx, first+i, at)
		})
	}
}

// buy is one buyer: he wants some tickets, tries for good seats, and for others
// when those are gone.
func (c *crowd) buy(ctx context.Context, number int, asked time.Time) {
	r := rand.New(rand.NewPCG(c.seed, 1<<32+uint64(number)))
	buyer := fmt.Sprintf("buyer-%06d", number)
	window := c.windows[number%len(c.windows)]
	wanted := 1 + r.IntN(maxTickets)
	for range maxTries {
		i := c.seats.pick(r)
		if i < 0 || wanted == 0 || ctx.Err() != nil {
			return
		}
		got, gone := c.ask(ctx, window, claim{c.seats.seats[i], buyer}, asked)
		if got {
			wanted--
		}
		if gone {
			c.seats.gone[i].Store(true)
		}
		asked = time.Now()
	}
}

// ask sends one request and enters what became of it. It reports whether the seat
// is the buyer's, and whether it is to be taken off the map.
func (c *crowd) ask(ctx context.Context, window *grid.Grid, want claim, asked time.Time) (got, gone bool) {
	ctx, cancel := context.WithTimeout(ctx, sellBudget)
	defer cancel()
	answer, err := processingunit.Call[sold](ctx, window, officeUnit, sellHandler, want.seat, sell{Seat: want.seat, Buyer: want.buyer})
	now := time.Now()
	switch {
	case err == nil && (answer.Seat != want.seat || answer.Buyer != want.buyer):
		c.ledger.doubt(want, fmt.Errorf("%s asked for %s and got a receipt of %s for %s", want.buyer, want.seat, answer.Buyer, answer.Seat))
		return false, true
	case err == nil:
		c.ledger.sold(want, asked, now)
		return true, true
	case isSoldOut(err, want.seat):
		c.ledger.refusal(asked, now)
		return false, true
	case hadNoEffect(err):
		c.ledger.failure(err)
		return false, false
	}
	c.ledger.doubt(want, err)
	return false, true
}

func isSoldOut(err error, id string) bool {
	var refusal *grid.HandlerError
	return errors.As(err, &refusal) && refusal.Message == soldOut(id)
}

// hadNoEffect reports whether an error promises that nothing has changed. Whether
// that is true is seen in the end: a buyer who owns a seat all the same was lied to.
func hadNoEffect(err error) bool {
	var refusal *grid.HandlerError
	var refused *space.Error
	return !errors.Is(err, grid.ErrIndeterminate) &&
		(errors.Is(err, grid.ErrUnavailable) || errors.Is(err, grid.ErrUnknownHandler) || errors.As(err, &refusal) || errors.As(err, &refused))
}
