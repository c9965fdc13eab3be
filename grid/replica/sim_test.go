package replica_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/spacegrid/spacegrid/grid/replica"
)

var simSeed = flag.Uint64("sim.seed", 0, "run the simulation with this seed alone; 0 runs the usual ones")

const (
	simLength   = 45 * time.Second // of the cluster's time
	simClients  = 6
	simPatience = 2 * time.Second // after which a client gives a command up
	// simEra is how long a set of registers is used. Every operation of unknown
	// outcome stays open for ever, and the checker's work grows with how many
	// are open at once.
	simEra = 4 * time.Second
)

// Whatever links are cut, delayed and reset, whoever crashes and returns, with
// its disk or without: what clients see of some registers can be put in one
// order in which every read returns the last value written, and an operation
// lies between its call and its return. An operation that was said not to be
// taken up has no effect; one of unknown outcome takes effect once or never.
// Replicas that are equally far have the same state.
func TestSimulationIsLinearizable(t *testing.T) {
	seeds := []uint64{1, 2}
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	}
	for _, disk := range []bool{true, false} {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("disk=%v,seed=%d", disk, seed), func(t *testing.T) {
				simulate(t, func(t *testing.T) { runSimulation(t, seed, disk) })
			})
		}
	}
}

func runSimulation(t *testing.T, seed uint64, disk bool) {
	c := newCluster(t, seed, disk)
	c.adjust = func(cfg *replica.GroupConfig) {
		// A leader that is cut off believes in itself for as long as possible.
		cfg.Timing = replica.Timing{Lease: 500 * time.Millisecond}
		cfg.SnapshotLogBytes = 32 << 10
	}
	defer c.close()
	threeMembers(t, c)
	s := &simulation{c: c, start: time.Now()}
	s.setLive()
	s.heal()
	var clients sync.WaitGroup
	for i := range simClients {
		clients.Go(func() { s.client(rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for time.Since(s.start) < simLength {
		s.fault()
	}
	s.heal()
	clients.Wait()
	c.write("end", "end")
	c.agree(map[string]string{"end": "end"})
	s.check(t, seed)
}

// simulation is one run.
type simulation struct {
	c     *cluster
	start time.Time
	clock atomic.Int64 // orders calls and returns
	names atomic.Int64 // of values, which are unique

	mu      sync.Mutex
	live    []*groupMember // clients pick from these
	history []porcupine.Operation
	counts  map[string]int
}

// access is what a client did to one register.
type access struct {
	register string
	write    string // the value written; empty for a read
}

// seen is what it got: the value before, if the outcome is known.
type seen struct {
	value string
	known bool
}

var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			name := op.Input.(access).register
			by[name] = append(by[name], op)
		}
		for _, ops := range by {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(access), output.(seen)
		ok := !out.known || out.value == state.(string)
		if in.write != "" {
			return ok, in.write
		}
		return ok, state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v %+v", input, output) },
}

// check has porcupine look for an order.
func (s *simulation) check(t *testing.T, seed uint64) {
	result, info := porcupine.CheckOperationsVerbose(registerModel, s.history, time.Minute)
	t.Logf("seed %d: %d operations, %v", seed, len(s.history), s.counts)
	if result != porcupine.Ok {
		t.Errorf("seed %d: history is %s; run with -sim.seed=%d", seed, result, seed)
		_ = info
	}
	for _, outcome := range []string{"read", "written", "refused", "unknown", "unconfirmed"} {
		if s.counts[outcome] == 0 {
			t.Errorf("seed %d: no operation ended as %q: the faults do not reach the clients", seed, outcome)
		}
	}
}

// setLive tells the clients who is there.
func (s *simulation) setLive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = s.live[:0]
	for _, m := range s.c.members {
		s.live = append(s.live, m)
	}
	slices.SortFunc(s.live, func(a, b *groupMember) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
}

// client reads and writes until the end, through whoever thinks that it leads.
func (s *simulation) client(rng *rand.Rand) {
	for time.Since(s.start) < simLength {
		time.Sleep(time.Duration(rng.IntN(int(20 * time.Millisecond))))
		s.mu.Lock()
		m := s.live[rng.IntN(len(s.live))]
		s.mu.Unlock()
		term, ok := m.group.Leading()
		if !ok {
			continue
		}
		register := fmt.Sprintf("%d.%d", time.Since(s.start)/simEra, rng.IntN(2))
		if rng.IntN(2) == 0 {
			s.read(m, term, register)
		} else {
			s.write(m, register)
		}
	}
}

func (s *simulation) read(m *groupMember, term uint64, register string) {
	called := s.clock.Add(1)
	value := m.sm.read(register)
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	err := m.group.Confirm(ctx, term)
	if err != nil || m.isDead() {
		s.record("unconfirmed", nil)
		return
	}
	s.record("read", &porcupine.Operation{
		Input: access{register: register}, Call: called, Output: seen{value, true}, Return: s.clock.Add(1),
	})
}

func (s *simulation) write(m *groupMember, register string) {
	op := &porcupine.Operation{
		Input: access{register, fmt.Sprint("v", s.names.Add(1))}, Call: s.clock.Add(1),
		Output: seen{}, Return: math.MaxInt64,
	}
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	before, err := m.group.Propose(ctx, []byte(register+"="+op.Input.(access).write))
	switch {
	case m.isDead(), errors.Is(err, replica.ErrIndeterminate):
		s.record("unknown", op)
	case err == nil:
		op.Output, op.Return = seen{string(before), true}, s.clock.Add(1)
		s.record("written", op)
	case errors.Is(err, replica.ErrNotLeader), errors.Is(err, replica.ErrOverloaded):
		s.record("refused", nil)
	default:
		s.c.t.Errorf("write at %v: %v", m.id, err)
	}
}

func (s *simulation) record(outcome string, op *porcupine.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[outcome]++
	if op != nil {
		op.ClientId = len(s.history)
		s.history = append(s.history, *op)
	}
}

// fault does something bad for a while.
func (s *simulation) fault() {
	c, rng := s.c, s.c.rng
	m := s.target()
	others := s.others(m)
	pause := func(least, most time.Duration) { time.Sleep(least + time.Duration(rng.Int64N(int64(most-least)))) }
	switch rng.IntN(8) {
	case 0: // nobody hears it and it hears nobody
		for _, o := range others {
			c.net.Cut(m.name, o.name)
		}
		pause(300*time.Millisecond, 3*time.Second)
	case 1: // it hears nobody
		for _, o := range others {
			c.net.CutOneWay(o.name, m.name)
		}
		pause(300*time.Millisecond, 2*time.Second)
	case 2: // nobody hears it
		for _, o := range others {
			c.net.CutOneWay(m.name, o.name)
		}
		pause(300*time.Millisecond, 2*time.Second)
	case 3:
		c.net.Reset(m.name, others[0].name)
	case 4, 5: // what it is told comes late, while another takes over
		late := time.Duration(rng.Int64N(int64(400 * time.Millisecond)))
		for _, o := range others {
			c.net.Delay(o.name, m.name, late)
		}
		pause(50*time.Millisecond, 200*time.Millisecond)
		s.transfer(m, others[rng.IntN(len(others))])
		pause(100*time.Millisecond, time.Second)
	case 6:
		s.transfer(m, others[rng.IntN(len(others))])
	case 7:
		s.restart(m)
	}
	s.heal()
	pause(100*time.Millisecond, 1500*time.Millisecond)
}

// target returns a member to trouble, mostly one that leads.
func (s *simulation) target() *groupMember {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.live {
		if _, ok := m.group.Leading(); ok && s.c.rng.IntN(4) > 0 {
			return m
		}
	}
	return s.live[s.c.rng.IntN(len(s.live))]
}

func (s *simulation) others(m *groupMember) (others []*groupMember) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.live {
		if o != m {
			others = append(others, o)
		}
	}
	return others
}

// heal makes all links whole: a few milliseconds long, so that operations
// overlap.
func (s *simulation) heal() {
	for _, a := range []string{"a", "b", "c"} {
		for _, b := range []string{"a", "b", "c"} {
			s.c.net.Heal(a, b)
			s.c.net.Delay(a, b, time.Duration(s.c.rng.Int64N(int64(4*time.Millisecond))))
		}
	}
}

func (s *simulation) transfer(from, to *groupMember) {
	ctx, cancel := context.WithTimeout(context.Background(), simPatience)
	defer cancel()
	_ = from.group.Transfer(ctx, to.id) // It may well fail.
}

// restart crashes a member and lets it return: with what its disk has kept or,
// where that is only its votes, as another incarnation.
func (s *simulation) restart(m *groupMember) {
	c := s.c
	disk := c.crash(m)
	s.setLive()
	time.Sleep(time.Duration(c.rng.Int64N(int64(1500 * time.Millisecond))))
	incarnation := m.id.Incarnation
	if !c.disk {
		incarnation++
	}
	back := c.start(m.name, incarnation, disk)
	s.setLive()
	if c.disk {
		return
	}
	for _, change := range []func(ctx context.Context, g *replica.Group) error{
		func(ctx context.Context, g *replica.Group) error { return g.AddLearner(ctx, back.id) },
		func(_ context.Context, g *replica.Group) error {
			if !g.CaughtUp(back.id) {
				return replica.ErrIndeterminate
			}
			return nil
		},
		func(ctx context.Context, g *replica.Group) error { return g.AddVoter(ctx, back.id) },
		func(ctx context.Context, g *replica.Group) error { return g.Remove(ctx, m.id) },
	} {
		c.until("the new incarnation takes the place of the old", func() bool {
			return change(context.Background(), c.leader().group) == nil
		})
	}
}
