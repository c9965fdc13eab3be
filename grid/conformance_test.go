package grid_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
)

// repeats is what a handle has no way to be asked for: it repeats by itself, which
// the workload under failures shows.
const repeats = "entries/a request that is repeated takes effect once"

// A member in this process offers spaces as they are meant to be.
func TestEmbeddedConforms(t *testing.T) {
	g, err := grid.Open(t.Context(), grid.Config{Name: "m1", Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	spacetest.Run(t, front{g}, repeats)
}

// So does a handle to a cluster of three from outside.
func TestRemoteConforms(t *testing.T) {
	c := gridtest.New(t, 3)
	spacetest.Run(t, front{c.Dial()}, repeats)
}

// While the members that lead are killed, one after the other, a client outside
// gets for every request what the model says, once: also for those that were under
// way, whose answers were lost.
func TestRemoteConformsWhileLeadersDie(t *testing.T) {
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		underFailures(t, c, &unhurried{Front: front{c.Dial()}}, func(int) {})
	})
}

// The same holds for the members' own handles, between whose requests the members
// die.
func TestEmbeddedConformsWhileLeadersDie(t *testing.T) {
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		f := &unhurried{Front: front{c.Member(0)}}
		underFailures(t, c, f, func(victim int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.Front = front{c.Member((victim + 1) % 3)}
		})
	})
}

// A member that comes back with nothing has to become a voter again before the
// next one may die.
const (
	failoverKills    = 4
	failoverRequests = 600
	requestPause     = 200 * time.Millisecond
	recovery         = 25 * time.Second
)

// underFailures runs the workload while leaders are killed. before is called for
// each of them, before it dies.
func underFailures(t *testing.T, c *gridtest.Cluster, f *unhurried, before func(victim int)) {
	seed := rand.Uint64() >> 12
	const name = "work"
	if err := f.Define(t.Context(), spacetest.WorkSpace(name), ""); err != nil {
		t.Fatal(err)
	}
	done := make(chan spacetest.Worked, 1)
	go func() { done <- spacetest.Work(t.Context(), f, name, seed, failoverRequests) }()
	kills := 0
	for range failoverKills {
		time.Sleep(time.Second)
		victim := c.Leader("{t}0")
		before(victim)
		c.Kill(victim)
		kills++
		time.Sleep(3 * time.Second)
		c.Start(victim)
		c.Ready()
		time.Sleep(recovery)
	}
	w := <-done
	if w.Err != nil {
		t.Fatal(w.Err)
	}
	t.Logf("seed %d: %d requests, %d of them refused, %d leaders killed", seed, w.Done, w.Refused, kills)
	if w.Done != failoverRequests {
		t.Errorf("%d of %d requests were carried out; not offered: %v", w.Done, failoverRequests, w.NotOffered)
	}
}

// unhurried makes a client that takes a while between requests, so that the work
// lasts while members die. Front may be exchanged under mu, between requests.
type unhurried struct {
	mu sync.Mutex
	spacetest.Front
}

func (u *unhurried) Do(ctx context.Context, r spacetest.Request) (spacetest.Response, error) {
	time.Sleep(requestPause)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.Front.Do(ctx, r)
}

// front is a handle of a grid as the suite uses it.
type front struct{ g *grid.Grid }

func (f front) Define(ctx context.Context, def space.Definition, deadLetter string) error {
	if deadLetter != "" {
		dead, err := f.g.Describe(ctx, deadLetter)
		if err != nil {
			return err
		}
		def.DeadLetter = dead.ID
	}
	_, err := f.g.CreateSpace(ctx, def)
	return err
}

func (f front) Do(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	switch r.Verb {
	case spacetest.Write:
		return f.batch(ctx, r)
	case spacetest.Read, spacetest.Take:
		out.Entries, err = f.entries(ctx, r)
	case spacetest.Change:
		return f.change(ctx, r)
	case spacetest.Claim:
		out.Entries, err = f.claim(ctx, r)
	case spacetest.Ack, spacetest.Nack, spacetest.Extend:
		err = f.settle(ctx, r)
	case spacetest.Count:
		out.Count, err = f.g.Count(ctx, r.Space, filter(r))
	case spacetest.Aggregate:
		out.Rows, err = f.aggregate(ctx, r)
	default:
		err = spacetest.ErrNotOffered
	}
	return out, err
}

func filter(r spacetest.Request) grid.Filter {
	switch {
	case r.Where != "":
		return grid.Where(r.Where).And(r.Template)
	case r.Template != nil:
		return grid.Template(r.Template)
	}
	return nil
}

// batch carries out an operation as it is, for what has no method of its own
// without a Go type.
func (f front) batch(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	def, err := f.g.Describe(ctx, r.Space)
	if err != nil {
		return out, err
	}
	op, err := r.Op(def.ID)
	if err != nil {
		return out, err
	}
	b := f.g.NewBatch()
	var at int
	if op.Code == space.OpRead {
		at = b.Get(def.ID, op.Key)
	} else {
		at = b.Do(op)
	}
	if err := f.g.Run(ctx, b); err != nil {
		return out, err
	}
	result, err := b.Result(at)
	for i := range result.Entries {
		out.Entries = append(out.Entries, spacetest.EntryOf(&result.Entries[i]))
	}
	out.Version = result.Version
	return out, err
}

func (f front) entries(ctx context.Context, r spacetest.Request) ([]spacetest.Entry, error) {
	var es []grid.Entry
	var err error
	switch {
	case r.Key != "" && (r.Verb == spacetest.Read || r.Version != 0 || r.Where != ""):
		out, err := f.batch(ctx, r)
		return out.Entries, err
	case r.Key != "":
		es = make([]grid.Entry, 1)
		es[0], err = f.g.Take(ctx, r.Space, r.Key, grid.TakeOptions{Wait: r.Wait})
	case r.Verb == spacetest.Take:
		es, err = f.g.TakeMatch(ctx, r.Space, filter(r), grid.TakeOptions{Limit: r.Limit, Wait: r.Wait})
	default:
		es, err = f.g.ReadMatch(ctx, r.Space, filter(r), grid.ReadOptions{Limit: r.Limit})
	}
	if err != nil {
		return nil, err
	}
	return shown(es...), nil
}

func shown(es ...grid.Entry) (all []spacetest.Entry) {
	for _, e := range es {
		all = append(all, spacetest.EntryOf(&space.Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Version: e.Version}))
	}
	return all
}

func (f front) change(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	parts := changes(r)
	if r.Key == "" {
		if r.Where != "" || r.Template != nil {
			es, err := f.g.ChangeMatch(ctx, r.Space, filter(r), max(r.Limit, 1), parts...)
			return spacetest.Response{Entries: shown(es...)}, err
		}
		es, err := f.g.ChangeMatch(ctx, r.Space, nil, max(r.Limit, 1), parts...)
		return spacetest.Response{Entries: shown(es...)}, err
	}
	if r.Where != "" {
		parts = append(parts, grid.If(r.Where))
	}
	if r.Version != 0 {
		parts = append(parts, grid.IfVersion(r.Version))
	}
	if r.Create {
		parts = append(parts, grid.OrCreate())
	}
	made, err := f.g.Change(ctx, r.Space, r.Key, parts...)
	if err != nil {
		return out, err
	}
	return spacetest.Response{Entries: shown(made.Value), Version: made.Version}, nil
}

func changes(r spacetest.Request) (parts []grid.ChangePart) {
	for _, m := range r.Mutations {
		var part grid.ChangePart
		switch m.Op {
		case "set":
			part = grid.Set(m.Path, m.Value)
		case "unset":
			part = grid.Unset(m.Path)
		case "default":
			part = grid.Default(m.Path, m.Value)
		case "append":
			part = grid.Append(m.Path, m.Value.(string))
		case "push":
			part = grid.Push(m.Path, m.Value)
		case "insert":
			part = grid.Insert(m.Path, m.Value)
		case "remove":
			part = grid.Remove(m.Path, m.Value)
		case "lowest":
			part = grid.Lowest(m.Path, m.Value)
		case "highest":
			part = grid.Highest(m.Path, m.Value)
		case "add":
			part = addition(m)
		default:
			panic("no mutation " + m.Op)
		}
		parts = append(parts, part)
	}
	return parts
}

func addition(m spacetest.Mutation) grid.ChangePart {
	add := grid.Add(m.Path, integer(m.Value))
	if m.Min != nil {
		add = add.Min(integer(m.Min))
	}
	if m.Max != nil {
		add = add.Max(integer(m.Max))
	}
	return add
}

func integer(v any) int64 {
	if n, ok := v.(int); ok {
		return int64(n)
	}
	return v.(int64)
}

func (f front) claim(ctx context.Context, r spacetest.Request) ([]spacetest.Entry, error) {
	o := grid.ClaimOptions{Lease: r.Lease, Wait: r.Wait, Limit: r.Limit}
	var claims []*grid.Claim
	var err error
	if r.Key != "" {
		var c *grid.Claim
		if c, err = f.g.Claim(ctx, r.Space, r.Key, o); err == nil {
			claims = append(claims, c)
		}
	} else {
		claims, err = f.g.ClaimMatch(ctx, r.Space, filter(r), o)
	}
	var all []spacetest.Entry
	for _, c := range claims {
		e := shown(c.Entry)[0]
		e.Attempts, e.Token = c.Attempts, c.Token.String()
		all = append(all, e)
	}
	return all, err
}

func (f front) settle(ctx context.Context, r spacetest.Request) error {
	token, err := grid.ParseToken(r.Token)
	if err != nil {
		return err
	}
	switch r.Verb {
	case spacetest.Ack:
		return f.g.Ack(ctx, r.Space, []byte(r.Key), token)
	case spacetest.Extend:
		return f.g.Extend(ctx, r.Space, []byte(r.Key), token, r.Lease)
	}
	return f.g.Nack(ctx, r.Space, []byte(r.Key), token, grid.NackOptions{Delay: r.Lease, Uncounted: r.Uncounted}, changes(r)...)
}

func (f front) aggregate(ctx context.Context, r spacetest.Request) ([]map[string]any, error) {
	var spec aggregate.Spec
	for _, text := range r.Columns {
		name, path, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
		switch name {
		case "count":
			spec.Columns = append(spec.Columns, aggregate.Count())
		case "sum":
			spec.Columns = append(spec.Columns, aggregate.Sum(path))
		default:
			return nil, errors.New("no column " + text)
		}
	}
	if r.GroupBy != "" {
		spec.GroupBy = []string{r.GroupBy}
	}
	result, err := f.g.Aggregate(ctx, r.Space, filter(r), spec)
	if err != nil {
		return nil, err
	}
	var rows []map[string]any
	for i, row := range result.Rows {
		all := map[string]any{}
		for j, name := range result.Columns {
			all[name] = row.Values[j]
		}
		if r.GroupBy != "" {
			all[r.GroupBy], _ = result.Value(i, r.GroupBy)
		}
		rows = append(rows, all)
	}
	return rows, nil
}
