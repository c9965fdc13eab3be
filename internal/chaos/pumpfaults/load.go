package pumpfaults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// spaceName is the space of all proofs, and the table that it is mapped to.
const spaceName = "pumpfaults"

const (
	clients = 48 // enough for ten times the rate, one request of each at a time
	// requestTime is how long a client waits for an answer: longer than a failover.
	requestTime = 15 * time.Second
	// slots is how many keys a client writes again and again.
	slots = 4
)

// item is what clients write.
type item struct {
	ID     string `grid:"id,key"`
	N      int64  `grid:"n"`
	Poison bool   `grid:"poison"`
}

// load is clients at work until stop.
type load struct {
	record *record
	rate   atomic.Int64 // requests a second, of all clients
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startLoad connects the clients and lets them work.
func startLoad(ctx context.Context, l *lab.Lab, r *record, rate int, seed uint64) (*load, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &load{record: r, cancel: cancel}
	w.rate.Store(int64(rate))
	for i := range clients {
		g, err := l.Dial(ctx, i, i%l.Members())
		if err != nil {
			w.stop()
			return nil, err
		}
		s, err := grid.OpenSpace[item](ctx, g, spaceName)
		if err != nil {
			w.stop()
			return nil, errors.Join(err, g.Close())
		}
		c := &client{name: fmt.Sprintf("c%02d", i), space: s, record: r, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		w.wg.Go(func() {
			defer func() { _ = g.Close() }() // a client's handle: nothing is lost with it
			c.work(ctx, &w.rate)
		})
	}
	return w, nil
}

// stop ends the clients and waits for the answers that are due.
func (w *load) stop() {
	w.cancel()
	w.wg.Wait()
}

// client writes keys that are its own, one request after the other.
type client struct {
	name   string
	space  *grid.Space[item]
	record *record
	rand   *rand.Rand
	n      int64
	live   []string   // entries that may be removed
	renew  [slots]int // how often a slot got another key
}

func (c *client) work(ctx context.Context, rate *atomic.Int64) {
	for ctx.Err() == nil {
		began := time.Now()
		c.request()
		gap := time.Duration(int64(clients) * int64(time.Second) / rate.Load())
		select {
		case <-ctx.Done():
		case <-time.After(gap - time.Since(began)):
		}
	}
}

// request makes one request: a new entry, a slot again, or a removal.
func (c *client) request() {
	c.n++
	switch draw := c.rand.IntN(10); {
	case draw < 5:
		key := fmt.Sprintf("%s-%d", c.name, c.n)
		if c.write(key) == known {
			c.live = append(c.live, key)
		}
	case draw < 8 || len(c.live) == 0:
		slot := c.rand.IntN(slots)
		if c.write(fmt.Sprintf("%s-slot%d.%d", c.name, slot, c.renew[slot])) == doubtful {
			c.renew[slot]++
		}
	default:
		i := c.rand.IntN(len(c.live))
		key := c.live[i]
		if c.remove(key) != refused {
			c.live[i] = c.live[len(c.live)-1]
			c.live = c.live[:len(c.live)-1]
		}
	}
}

// answer is what a client knows of a request.
type answer uint8

const (
	known    answer = iota // acknowledged
	refused                // it had no effect
	doubtful               // nobody knows
)

func answerOf(err error) answer {
	switch {
	case err == nil:
		return known
	case errors.Is(err, grid.ErrIndeterminate):
		return doubtful
	case errors.Is(err, grid.ErrUnavailable), errors.Is(err, grid.ErrHeldBack):
		return refused
	}
	return doubtful
}

// write writes an entry and notes what comes of it. The request is not cut short when
// the clients are to stop.
func (c *client) write(key string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	v, err := c.space.Write(ctx, item{ID: key, N: c.n})
	a := answerOf(err)
	switch a {
	case known:
		c.record.wrote(key, v)
	case doubtful:
		c.record.doubted(key, false)
	}
	return a
}

func (c *client) remove(key string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	found, err := c.space.Delete(ctx, key)
	a := answerOf(err)
	switch a {
	case known:
		c.record.removed(key, found)
	case doubtful:
		c.record.doubted(key, true)
	}
	return a
}
