package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// liveRegisters is how many registers are in use at once. Few make clients
	// meet, which is what finds mistakes.
	liveRegisters = 5
	// registerOps and registerOpen retire a register: so many operations were
	// begun on it, or so many writes have no answer. The search for an order grows
	// with both.
	registerOps  = 200
	registerOpen = 12
	// registerWriters is how many clients write; the others read.
	registerWriters = 8
	// registerTime bounds the search for an order of one register.
	registerTime = 60 * time.Second
)

// Register is reads, writes and conditional writes of a few keys by everybody, through
// every door, of the space that Redis clients see. Every key behaves as one register
// that all share: its operations are linearizable.
type Register struct {
	mu    sync.Mutex
	slots [liveRegisters]registerSlot
	made  int // registers so far
	names int // values so far
}

// registerSlot is a register in use.
type registerSlot struct {
	key   string
	begun int
	open  int
	last  string // a value that may be there, for conditional writes
}

// Name implements Workload.
func (r *Register) Name() string { return "register" }

// Prepare implements Workload.
func (r *Register) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := g.Describe(ctx, grid.DefaultSpace)
		return err
	})
}

// Run implements Workload.
func (r *Register) Run(ctx context.Context, p Place, h *History, o Options) error {
	return newCrew(p, h, o).run(ctx, r.step)
}

// step is one operation of a client.
func (r *Register) step(ctx context.Context, c *client) {
	at := c.rand.IntN(liveRegisters)
	op, key := r.begin(c, at)
	op.Key = key
	kind := []string{DoorGo, DoorGo, DoorRESP, DoorHTTP}[c.rand.IntN(4)]
	var done *Op
	switch {
	case op.Kind == "peek" || kind == DoorGo:
		done = c.do(ctx, op, registerByGo)
	case kind == DoorRESP:
		done = c.door(ctx, kind, op, registerByRESP)
	default:
		done = c.door(ctx, kind, op, registerByHTTP)
	}
	if done == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[at]
	if s.key != key {
		return
	}
	switch {
	case done.Outcome == check.Unknown && done.Kind != "get" && done.Kind != "peek":
		s.open++
	case done.Outcome == check.Done && done.Kind == "put":
		s.last = done.Value
	case done.Outcome == check.Done && done.Got != "":
		s.last = done.Got
	}
}

// begin chooses an operation on one of the registers, which is replaced if it has
// had enough of them.
func (r *Register) begin(c *client, at int) (Op, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[at]
	if s.key == "" || s.begun >= registerOps || s.open >= registerOpen {
		r.made++
		*s = registerSlot{key: fmt.Sprintf("register-%s-%d", c.history.Mark(), r.made)}
	}
	s.begun++
	dice := c.rand.IntN(100)
	switch {
	case dice < 45 || c.id >= registerWriters:
		return Op{Kind: "get"}, s.key
	case dice < 50:
		return Op{Kind: "peek"}, s.key
	case dice < 54:
		return Op{Kind: "put"}, s.key
	}
	r.names++
	value := fmt.Sprintf("v%d-%d", r.names, c.id)
	if dice < 75 || s.last == "" {
		return Op{Kind: "put", Value: value}, s.key
	}
	return Op{Kind: "cas", Value: value, Expect: s.last}, s.key
}

// registerByGo carries out an operation through the Go client.
func registerByGo(ctx context.Context, g *grid.Grid, op *Op) error {
	def, err := g.Describe(ctx, grid.DefaultSpace)
	if err != nil {
		return refusedf("describe: %w", err)
	}
	one := func(o space.Op) (space.Result, error) {
		o.Space, o.Key = def.ID, []byte(op.Key)
		b := g.NewBatch()
		if o.Code == space.OpRead {
			b.Get(o.Space, o.Key)
		} else {
			b.Do(o)
		}
		if err := g.Run(ctx, b); err != nil {
			return space.Result{}, err
		}
		return b.Result(0)
	}
	switch op.Kind {
	case "peek":
		return peek(ctx, g, op)
	case "put":
		o := space.Op{Code: space.OpWrite, Kind: grid.Bytes, Value: []byte(op.Value)}
		if op.Value == "" {
			o = space.Op{Code: space.OpTake}
		}
		res, err := one(o)
		op.Version = uint64(res.Version)
		if op.Value == "" && errors.Is(err, grid.ErrNotFound) {
			return nil
		}
		return err
	}
	res, err := one(space.Op{Code: space.OpRead})
	if errors.Is(err, grid.ErrNotFound) {
		return nil
	}
	if err != nil {
		return refusedf("read: %w", err)
	}
	op.Got, op.Version = string(res.Entries[0].Value), uint64(res.Version)
	if op.Kind == "get" || op.Got != op.Expect {
		return nil
	}
	res, err = one(space.Op{Code: space.OpWrite, Kind: grid.Bytes, Value: []byte(op.Value), Match: res.Version})
	op.Version = uint64(res.Version)
	return err
}

// peek reads what the nearest replica has.
func peek(ctx context.Context, g *grid.Grid, op *Op) error {
	def, err := g.Describe(ctx, grid.DefaultSpace)
	if err != nil {
		return refusedf("describe: %w", err)
	}
	key := []byte(op.Key)
	l := &cluster.Lookup{Get: cluster.Get{Partition: space.PartitionOf(key, g.Partitions()), Space: def.ID, Key: key}}
	g.Router().Read(ctx, cluster.Local, []*cluster.Lookup{l})
	switch {
	case l.Err != nil:
		return refusedf("peek: %w", l.Err)
	case l.Found.Code == space.OK:
		op.Got, op.Version = string(l.Found.Entry.Value), uint64(l.Found.Entry.Version)
	case l.Found.Code != space.CodeNotFound:
		return refusedf("peek: %w", l.Found.Code.Err())
	}
	return nil
}

// registerByRESP carries out an operation as a Redis client would.
func registerByRESP(ctx context.Context, d *doorConn, op *Op) error {
	if op.Kind == "put" {
		args := []string{"SET", op.Key, op.Value}
		if op.Value == "" {
			args = []string{"DEL", op.Key}
		}
		_, err := d.command(ctx, args...)
		return err
	}
	if op.Kind == "cas" {
		if _, err := d.command(ctx, "WATCH", op.Key); err != nil {
			return refusedf("watch: %w", err)
		}
	}
	got, err := d.command(ctx, "GET", op.Key)
	if err != nil {
		return refusedf("get: %w", err)
	}
	op.Got = got.text
	if op.Kind == "get" {
		return nil
	}
	if op.Got != op.Expect {
		if _, err := d.command(ctx, "UNWATCH"); err != nil {
			return refusedf("unwatch: %w", err)
		}
		return nil
	}
	for _, args := range [][]string{{"MULTI"}, {"SET", op.Key, op.Value}} {
		if _, err := d.command(ctx, args...); err != nil {
			return refusedf("%s: %w", args[0], err)
		}
	}
	done, err := d.command(ctx, "EXEC")
	if err == nil && done.null {
		return refusedf("somebody else has written")
	}
	return err
}

// registerByHTTP carries out an operation over HTTP.
func registerByHTTP(ctx context.Context, d *doorConn, op *Op) error {
	if op.Kind == "put" {
		method := http.MethodPut
		if op.Value == "" {
			method = http.MethodDelete
		}
		a, err := d.web(ctx, method, grid.DefaultSpace, op.Key, op.Value)
		op.Version = a.version
		if err == nil && a.status == http.StatusNotFound && op.Value != "" {
			return refusedf("status %d: %s", a.status, a.body)
		}
		return err
	}
	a, err := d.web(ctx, http.MethodGet, grid.DefaultSpace, op.Key, "")
	switch {
	case err != nil:
		return refusedf("get: %w", err)
	case a.status == http.StatusNotFound && strings.Contains(a.body, `"E2001"`):
		return nil
	case a.status != http.StatusOK:
		return refusedf("get: status %d: %s", a.status, a.body)
	}
	op.Got, op.Version = a.body, a.version
	if op.Kind == "get" || op.Got != op.Expect {
		return nil
	}
	a, err = d.web(ctx, http.MethodPut, grid.DefaultSpace, op.Key, op.Value, "If-Match", fmt.Sprintf(`"%d"`, a.version))
	if err == nil && a.status >= 300 {
		return refusedf("status %d: %s", a.status, a.body)
	}
	op.Version = a.version
	return err
}

// Finish implements Workload: the registers in use are read once more, at every
// member.
func (r *Register) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for member := range p.Members() {
			for _, s := range r.slots {
				if s.key == "" {
					continue
				}
				c.insistAt(ctx, member, Op{Kind: "get", Key: s.key}, registerByGo)
			}
		}
	})
}

// Judge implements Workload.
func (r *Register) Judge(h *History) *Verdict {
	v := tally(h)
	verbs := map[string]check.RegisterVerb{"get": check.Get, "put": check.Put, "cas": check.Swap, "peek": check.Peek}
	var all []check.Access
	for op := range h.of("get", "put", "cas", "peek") {
		all = append(all, check.Access{
			Line: op.N, Verb: verbs[op.Kind], Key: op.Key, Value: op.Value, Expect: op.Expect, Got: op.Got,
			Call: op.Call, Return: op.Return, Outcome: op.Outcome,
		})
	}
	found := check.Registers(all, registerTime)
	v.AckedLost, v.Stale, v.Phantom = found.Lost, found.Stale, found.Phantom
	v.Wrong += found.Disorder
	v.Unknown = found.Undecided
	v.complain(found.Complaints...)
	return v
}
