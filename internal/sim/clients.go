package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// giveUp is when a client does not wait for an answer any longer, giveUpSoon
	// when it is in a hurry, and pause the longest rest between two requests.
	giveUp     = 3 * time.Second
	giveUpSoon = 300 * time.Millisecond
	pause      = 60 * time.Millisecond
	// eraTime is how long a set of registers is used. Every operation of unknown
	// outcome stays open for ever, and the checker's work grows with how many are
	// open at once.
	eraTime   = 3 * time.Second
	registers = 3 // of an era

	accounts   = 8
	coins      = 100 // of every account at first
	largestSum = 5

	kinds = 2 // of jobs
)

type register struct {
	Name  string `grid:"name,key"`
	Value string `grid:"value"`
}

type element struct {
	ID string `grid:"id,key"`
	By int    `grid:"by"`
}

type job struct {
	ID     string `grid:"id,key"`
	Kind   string `grid:"kind,index"`
	Number int64  `grid:"number"`
}

type account struct {
	Name  string `grid:"name,key"`
	Coins int    `grid:"coins"`
}

// bill is written together with the transfer that it names.
type bill struct {
	ID    string `grid:"id,key"`
	From  string `grid:"from"`
	To    string `grid:"to"`
	Coins int    `grid:"coins"`
}

// history is what clients have seen.
type history struct {
	clock atomic.Int64 // orders calls and returns

	mu        sync.Mutex
	registers []porcupine.Operation
	versions  map[versioned]string // what a version of a register holds
	elements  map[string]check.Outcome
	acked     []string // elements that were acknowledged
	jobs      check.TakeHistory
	bills     map[string]check.Outcome
	sent      map[string]bill
	mirror    map[string]grid.Version // elements as followers of changes know them
	served    int                     // requests that were carried out
}

// crowd is all clients of a run.
type crowd struct {
	w    *world
	h    *history
	stop chan struct{}
	once sync.Once // of the closing of stop
	wg   sync.WaitGroup
	all  []*grid.Grid // handles

	follower  follower
	registers []*grid.Space[register]
	elements  []*grid.Space[element]
	jobs      []*grid.Space[job]
	accounts  []*grid.Space[account]
	bills     []*grid.Space[bill]
}

// clients is how many there are, each on a host of its own. All kinds of work go
// through every one of them.
const clients = 4

// newCrowd makes spaces and clients.
func newCrowd(w *world) *crowd {
	c := &crowd{w: w, stop: make(chan struct{}), h: &history{
		elements: map[string]check.Outcome{}, bills: map[string]check.Outcome{}, sent: map[string]bill{},
		mirror: map[string]grid.Version{}, versions: map[versioned]string{},
	}}
	c.follower = follower{c: c, at: map[space.PartitionID]uint64{}, in: map[string]space.PartitionID{}}
	for i := range clients {
		g := w.client(i)
		c.all = append(c.all, g)
		c.registers = append(c.registers, open[register](w, g, "registers"))
		c.elements = append(c.elements, open[element](w, g, "elements"))
		c.jobs = append(c.jobs, open[job](w, g, "jobs"))
		c.accounts = append(c.accounts, open[account](w, g, "accounts"))
		c.bills = append(c.bills, open[bill](w, g, "bills"))
	}
	for i := range accounts {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if _, err := c.accounts[0].Write(ctx, account{accountName(i), coins}); err != nil {
			w.t.Fatal(err)
		}
		cancel()
	}
	return c
}

func accountName(i int) string { return fmt.Sprint("account-", i) }

func open[T any](w *world, g *grid.Grid, name string) *grid.Space[T] {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := grid.OpenSpace[T](ctx, g, name)
	if err != nil {
		w.t.Fatalf("space %s: %v", name, err)
	}
	return s
}

// begin sets all clients to work.
func (c *crowd) begin() {
	for i := range clients {
		c.every(i, 0, c.useRegister)
		c.every(i, 1, c.addElement)
		c.every(i, 2, c.findElement)
		c.every(i, 3, c.giveJob)
		c.every(i, 4, c.takeJob)
		c.every(i, 5, c.transfer)
	}
	c.every(0, 6, c.audit)
	c.wg.Go(c.follow)
}

// every lets a client do something again and again.
func (c *crowd) every(client, kind int, do func(ctx context.Context, client int, rng *rand.Rand)) {
	rng := rand.New(rand.NewPCG(c.w.o.Seed, uint64(100+10*client+kind)))
	c.wg.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(time.Duration(rng.Int64N(int64(pause)))):
			}
			patience := giveUp
			if rng.IntN(4) == 0 {
				patience = giveUpSoon
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			do(ctx, client, rng)
			cancel()
		}
	})
}

// end lets all clients finish what they do. It is safe twice.
func (c *crowd) end() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}

func (c *crowd) close() {
	for _, g := range c.all {
		if err := g.Close(); err != nil {
			c.w.t.Error(err)
		}
	}
}

// outcome is what an error tells of a request. What is not known to be a refusal
// is unknown.
func (c *crowd) outcome(err error) check.Outcome {
	switch {
	case err == nil:
		c.h.mu.Lock()
		c.h.served++
		c.h.mu.Unlock()
		return check.Done
	case errors.Is(err, grid.ErrIndeterminate):
		c.w.reached.Note(OutcomeUnknown)
		return check.Unknown
	case errors.Is(err, grid.ErrUnavailable), errors.Is(err, grid.ErrConflict), errors.Is(err, grid.ErrExists), errors.Is(err, grid.ErrNotFound):
		return check.Refused
	}
	return check.Unknown
}

// access is what a client did to one register, and seen what it got.
type access struct {
	register string
	swap     bool   // only if it holds old
	old      string // "" if there is none
	write    string // "" for a read
}

type seen struct {
	value string
	done  bool // a write has taken effect, a read is right
	lost  bool // a swap met another value
}

// useRegister reads a register, and then perhaps writes it or swaps its value.
func (c *crowd) useRegister(ctx context.Context, client int, rng *rand.Rand) {
	s := c.registers[client]
	name := fmt.Sprintf("%d-%d", time.Now().UnixNano()/int64(eraTime), rng.IntN(registers))
	do := rng.IntN(4)
	var old string
	var version grid.Version
	if do != 0 {
		called := c.h.clock.Add(1)
		v, at, err := s.ReadVersion(ctx, name)
		if err != nil && !errors.Is(err, grid.ErrNotFound) {
			c.outcome(err)
			return
		}
		c.record(client, access{register: name}, seen{value: v.Value, done: true}, called)
		c.version(name, at, v.Value)
		old, version = v.Value, at
	}
	if do == 1 {
		return
	}
	in := access{register: name, write: fmt.Sprintf("%d.%d", client, c.h.clock.Add(1))}
	var options []grid.WriteOption
	if do == 3 {
		in.swap, in.old = true, old
		if version == 0 {
			options = append(options, grid.IfAbsent())
		} else {
			options = append(options, grid.IfVersion(version))
		}
	}
	called := c.h.clock.Add(1)
	at, err := s.Write(ctx, register{name, in.write}, options...)
	if in.swap && (errors.Is(err, grid.ErrConflict) || errors.Is(err, grid.ErrExists) || errors.Is(err, grid.ErrNotFound)) {
		c.w.reached.Note(SwapRefused)
		c.record(client, in, seen{lost: true}, called)
		return
	}
	switch c.outcome(err) {
	case check.Done:
		c.version(name, at, in.write)
		c.record(client, in, seen{done: true}, called)
	case check.Unknown:
		c.record(client, in, seen{}, called)
	}
}

func (c *crowd) record(client int, in access, out seen, called int64) {
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: called, Return: c.h.clock.Add(1)}
	if !out.done && !out.lost {
		op.Return = math.MaxInt64
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.registers = append(c.h.registers, op)
}

type versioned struct {
	register string
	version  grid.Version
}

// version notes that a version of a register has a value; it never has another.
func (c *crowd) version(name string, at grid.Version, value string) {
	if at == 0 {
		return
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	key := versioned{name, at}
	if old, ok := c.h.versions[key]; ok && old != value {
		c.w.t.Errorf("version %d of register %s is %q and is %q", at, name, old, value)
	}
	c.h.versions[key] = value
}
