package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// opTime is how long a client waits for an answer.
	opTime = 2 * time.Second
	// hungTime is how long after that a call may take to come back, on a machine
	// that is busy, before the client goes on without it and reports it.
	hungTime = 15 * time.Second
	// redialPause is how long a client rests that could not connect.
	redialPause = 50 * time.Millisecond
	// switching is how many of the clients are not bound to a member.
	switching = 2
	// switchPercent is how often, of a hundred operations, such a client goes to
	// another member.
	switchPercent = 5
)

// crew is the clients of a run.
type crew struct {
	place   Place
	history *History
	options Options

	mu   sync.Mutex
	fail error // ends the run
}

// client is one of them. It is used by one goroutine.
type client struct {
	*crew
	id     int
	label  string // its first name
	life   int    // how many names it has used up
	home   int    // the member it is bound to; -1: it switches
	member int    // the member it uses
	rand   *rand.Rand
	every  time.Duration // between the beginnings of two operations, on average
	next   time.Time

	g     *grid.Grid // nil: not connected
	doors map[string]*doorConn
}

func newCrew(p Place, h *History, o Options) *crew {
	return &crew{place: p, history: h, options: o.withDefaults()}
}

// client makes a client with an identity of its own. Close it after use.
func (w *crew) client(id int) *client {
	c := &client{
		crew: w, id: id, label: strconv.Itoa(id), home: id % w.place.Members(), doors: map[string]*doorConn{},
		rand:  rand.New(rand.NewPCG(w.options.Seed, uint64(id))),
		every: time.Duration(float64(time.Second) * float64(w.options.Clients) / w.options.Rate),
	}
	if id < w.options.Clients && id >= w.options.Clients-switching {
		c.home = -1
		c.member = c.rand.IntN(w.place.Members())
	} else {
		c.member = c.home
	}
	return c
}

// run drives the clients, each one step after the other, until ctx ends. It returns
// when all of them have ended.
func (w *crew) run(ctx context.Context, step func(context.Context, *client)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for id := range w.options.Clients {
		all.Go(func() {
			c := w.client(id)
			defer c.close()
			for c.pace(ctx) {
				if step(ctx, c); w.failed() != nil {
					cancel()
				}
			}
		})
	}
	all.Wait()
	return w.failed()
}

func (w *crew) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

// note adds a line, and ends the run if that is not possible.
func (w *crew) note(op *Op) {
	if err := w.history.Record(op); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fail = errors.Join(w.fail, err)
	}
}

// pace waits until the client may begin its next operation; false if ctx ended. A
// client that was held up does not make up for it.
func (c *client) pace(ctx context.Context) bool {
	now := time.Now()
	if c.next.Before(now) {
		c.next = now
	}
	d := c.next.Sub(now)
	c.next = c.next.Add(c.every/2 + time.Duration(c.rand.Int64N(int64(c.every)+1)))
	return pause(ctx, d)
}

// pause waits; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// name is the logical process that the client is at the moment.
func (c *client) name() string {
	if c.life == 0 {
		return c.label
	}
	return fmt.Sprintf("%s.%d", c.label, c.life)
}

// mayMove lets a client that is not bound go to another member now and then.
func (c *client) mayMove() {
	if c.home < 0 && c.rand.IntN(100) < switchPercent {
		c.move()
	}
}

// move ends the client's connections and chooses a member.
func (c *client) move() {
	c.close()
	c.member = c.rand.IntN(c.place.Members())
}

// close ends the client's connections. It may go on with new ones.
func (c *client) close() {
	if c.g != nil {
		// A remote handle: what it held on to is lost with a crash as well.
		_ = c.g.Close()
		c.g = nil
	}
	for _, d := range c.doors {
		d.close()
	}
	clear(c.doors)
}

// connected returns the client's handle, nil if there is none to be had.
func (c *client) connected(ctx context.Context) *grid.Grid {
	c.mayMove()
	if c.g != nil {
		return c.g
	}
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	g, err := c.place.Dial(ctx, c.id, c.member)
	if err != nil {
		pause(ctx, redialPause)
		if c.home < 0 {
			c.member = c.rand.IntN(c.place.Members())
		}
		return nil
	}
	c.g = g
	return g
}

// do carries out one operation through the Go client and records it. f adds the
// answer to op. It returns nil if there was no connection: then there was no
// operation either.
func (c *client) do(ctx context.Context, op Op, f func(context.Context, *grid.Grid, *Op) error) *Op {
	g := c.connected(ctx)
	if g == nil {
		return nil
	}
	op.Door = DoorGo
	done := c.carryOut(ctx, op, func(ctx context.Context, op *Op) error { return f(ctx, g, op) })
	if done.Hung {
		c.g = nil // whatever is stuck in it
	}
	return done
}

// carryOut calls f, gives it its time, and records what came of it. It goes on with
// what it has begun when ctx ends, so that a run does not end in unknown outcomes.
func (c *client) carryOut(ctx context.Context, op Op, f func(context.Context, *Op) error) *Op {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTime)
	defer cancel()
	op.Client, op.Member = c.name(), c.member
	asked := op
	op.Call = c.history.Now()
	// f has an operation of its own: it may go on writing to it when nobody waits
	// any more.
	type answer struct {
		op  *Op
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		mine := asked
		err := f(ctx, &mine)
		answers <- answer{&mine, err}
	}()
	late := time.NewTimer(opTime + hungTime)
	defer late.Stop()
	done := &op
	select {
	case a := <-answers:
		a.op.Call, a.op.Return = op.Call, c.history.Now()
		a.op.Outcome, a.op.Error = outcomeOf(a.err), errorText(a.err)
		done = a.op
	case <-late.C:
		op.Return, op.Hung, op.Error = c.history.Now(), true, "the call did not come back"
	}
	c.note(done)
	if done.Outcome == check.Unknown {
		c.life++
	}
	return done
}

// insist repeats an operation, at one member after the other, until it is done or
// ctx ends. Every attempt is recorded. It returns nil if it was never done.
func (c *client) insist(ctx context.Context, op Op, f func(context.Context, *grid.Grid, *Op) error) *Op {
	for ctx.Err() == nil {
		if done := c.do(ctx, op, f); done != nil && done.Outcome == check.Done {
			return done
		}
		if c.failed() != nil || !pause(ctx, redialPause) {
			break
		}
		c.move()
	}
	return nil
}

// atMember bounds how long a member is asked that may not run.
const atMember = 5 * time.Second

// insistAt is insist at one member, for as long as one may hope that it runs.
func (c *client) insistAt(ctx context.Context, member int, op Op, f func(context.Context, *grid.Grid, *Op) error) {
	ctx, cancel := context.WithTimeout(ctx, atMember)
	defer cancel()
	c.close()
	c.home, c.member = member, member
	for ctx.Err() == nil && c.failed() == nil {
		if done := c.do(ctx, op, f); done != nil && done.Outcome == check.Done {
			return
		}
		if !pause(ctx, redialPause) {
			break
		}
	}
}

// finishTime bounds what a workload does after the run: the grid serves again, so
// that all of it takes seconds.
const finishTime = 90 * time.Second

// finish runs the end of a workload with one client that nothing holds back.
func finish(ctx context.Context, p Place, h *History, body func(context.Context, *client)) error {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	w := newCrew(p, h, Options{})
	c := w.client(w.options.Clients)
	c.label = "end"
	defer c.close()
	body(ctx, c)
	return w.failed()
}

// prepare connects to a place and lets body do what has to be there before a run.
func prepare(ctx context.Context, p Place, body func(context.Context, *grid.Grid) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	g, err := p.Dial(ctx, 0, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := g.Ready(ctx); err != nil {
		return err
	}
	return body(ctx, g)
}
