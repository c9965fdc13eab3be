package cluster

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// memoryStore is a Store whose rows outlive the member, as a disk's would.
type memoryStore struct {
	mu   sync.Mutex
	grid StoredGrid
	rows map[space.PartitionID]*storedRows
	src  map[space.PartitionID]StoreSource
	stop bool // nothing gets durable any more
	hide bool // it tells what it holds, and does not give it out
	wg   sync.WaitGroup
}

type storedRows struct {
	At     space.Position
	Epoch  space.Epoch
	Clock  space.Time
	Defs   []space.Definition
	Spaces map[space.ID]map[string]space.Entry
}

func newMemoryStore() *memoryStore {
	return &memoryStore{rows: map[space.PartitionID]*storedRows{}, src: map[space.PartitionID]StoreSource{}}
}

func (s *memoryStore) Stored(context.Context) (StoredGrid, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grid
	g.Partitions = nil
	for _, p := range slices.Sorted(maps.Keys(s.rows)) {
		g.Partitions = append(g.Partitions, StoredPartition{ID: p, Position: s.rows[p].At, Epoch: s.rows[p].Epoch})
	}
	return g, nil
}

func (s *memoryStore) Bind(_ context.Context, g StoredGrid) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grid = g
	return nil
}

func (s *memoryStore) Load(_ context.Context, p space.PartitionID, h space.History, above space.Epoch) (*space.Partition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[p].load(p, h, above)
}

func (r *storedRows) load(p space.PartitionID, h space.History, above space.Epoch) (*space.Partition, error) {
	l := space.NewLoader(space.Loaded{ID: p, History: h, Origin: r.At, Epoch: max(r.Epoch, above) + 1, Clock: r.Clock})
	for _, def := range r.Defs {
		if err := l.Define(def); err != nil {
			return nil, err
		}
		for _, e := range r.Spaces[def.ID] {
			if err := l.Add(def.ID, e); err != nil {
				return nil, err
			}
		}
	}
	return l.Partition(), nil
}

type exported struct {
	ID   space.PartitionID
	Rows storedRows
}

func (s *memoryStore) Export(_ context.Context, p space.PartitionID, w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hide {
		return errors.New("the store does not give out its rows")
	}
	return gob.NewEncoder(w).Encode(exported{p, *s.rows[p]})
}

func (s *memoryStore) Import(_ context.Context, r io.Reader, h space.History, above space.Epoch) (*space.Partition, error) {
	var x exported
	if err := gob.NewDecoder(r).Decode(&x); err != nil {
		return nil, err
	}
	return x.Rows.load(x.ID, h, above)
}

func (s *memoryStore) Attach(p space.PartitionID, src StoreSource) error {
	s.mu.Lock()
	s.src[p] = src
	s.mu.Unlock()
	s.Notify(p)
	return nil
}

func (s *memoryStore) Detach(p space.PartitionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.src, p)
}

// Notify takes the changes over at once; rows of another history are replaced.
func (s *memoryStore) Notify(p space.PartitionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.src[p]
	if src == nil || s.stop {
		return
	}
	d, r := src.Describe(), s.rows[p]
	switch {
	case r == nil && d.Origin.Seq == 0:
		r = &storedRows{Spaces: map[space.ID]map[string]space.Entry{}, At: space.Position{History: d.History}}
		s.rows[p] = r
	case r != nil && r.At == d.Origin:
		r.At.History = d.History
	case r == nil || r.At.History != d.History:
		s.wg.Go(func() { s.resync(p, src) })
		return
	}
	if d.Epoch < r.Epoch {
		return // fenced: the store has heard from a later leader
	}
	changes, err := src.Read(nil, r.At.Seq, 1<<30)
	if errors.Is(err, space.ErrTrimmed) {
		s.wg.Go(func() { s.resync(p, src) })
		return
	}
	if err != nil {
		return // a replica that is behind its store
	}
	r.Epoch = src.Describe().Epoch // of the leader that made the last one, or a later one
	for _, c := range changes {
		r.apply(c)
	}
}

// resync replaces the rows of a partition by what it holds.
func (s *memoryStore) resync(p space.PartitionID, src StoreSource) {
	img, clock, err := src.Cut(context.Background())
	if err != nil {
		return
	}
	d := src.Describe()
	r := &storedRows{
		At: space.Position{History: d.History, Seq: img.Seq()}, Epoch: d.Epoch, Clock: clock,
		Defs: img.Definitions(), Spaces: map[space.ID]map[string]space.Entry{},
	}
	for _, def := range r.Defs {
		r.Spaces[def.ID] = map[string]space.Entry{}
		img.Scan(def.ID, func(e space.Entry) bool {
			e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
			r.Spaces[def.ID][string(e.Key)] = e
			return true
		})
	}
	s.mu.Lock()
	if s.src[p] == src && !s.stop {
		s.rows[p] = r
	}
	s.mu.Unlock()
	s.Notify(p)
}

func (r *storedRows) apply(c space.Change) {
	key := string(c.Key)
	switch c.Op {
	case space.Written, space.Updated, space.Released:
		r.Spaces[c.Space][key] = space.Entry{
			Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value), Kind: c.Kind, Version: c.Seq, Order: c.Order, Deadline: c.Deadline,
			Attempts: c.Attempts,
		}
	case space.Removed:
		delete(r.Spaces[c.Space], key)
	case space.Defined:
		p := space.New(0, space.History{})
		p.Apply(0, &space.Command{Ops: []space.Op{{Code: space.OpDefine, Space: c.Space, Value: c.Value}}})
		r.Defs = append(slices.DeleteFunc(r.Defs, func(d space.Definition) bool { return d.ID == c.Space }), p.Definitions()...)
		if r.Spaces[c.Space] == nil {
			r.Spaces[c.Space] = map[string]space.Entry{}
		}
	}
	r.At.Seq, r.Clock = c.Seq, c.At
}

func (s *memoryStore) Watermarks() map[space.PartitionID]space.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := map[space.PartitionID]space.Seq{}
	for p := range s.src {
		if s.rows[p] != nil {
			marks[p] = s.rows[p].At.Seq
		}
	}
	return marks
}

func (s *memoryStore) Flush(context.Context) error { return nil }

// freeze lets nothing more become durable.
func (s *memoryStore) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = true
}

// hideRows lets nothing be read by other members.
func (s *memoryStore) hideRows() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide = true
}

// thaw makes the store usable by the next life of its member.
func (s *memoryStore) thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = false
	clear(s.src)
}

// When all logs are gone, the stores are what the cluster starts from: each
// partition from the store that has come furthest, with the spaces and their
// numbers, the leases and the versions as they were, under a new history.
func TestColdStartFromStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		reply, err := r.Control(t.Context(), &CreateSpace{Definition: space.Definition{Name: "orders", Shape: space.ShapeBytes}})
		if err != nil {
			t.Fatal(err)
		}
		id := reply.Space
		for i := range 40 {
			write(t, r, id, fmt.Sprint("k", i), "first")
		}
		time.Sleep(time.Second)
		// From here on only b's store goes on.
		g.stores["a"].freeze()
		g.stores["c"].freeze()
		var last space.Reply
		for i := range 20 {
			last = write(t, r, id, fmt.Sprint("k", i), "second")
		}
		time.Sleep(time.Second)
		cluster := r.State().Cluster
		g.stores["b"].freeze()
		for _, m := range []string{"a", "b", "c"} {
			g.crash(m)
			g.stores[m].thaw()
		}
		time.Sleep(time.Second)
		g.start("a", "c")
		time.Sleep(10 * time.Second)
		if g.nodes["a"].control.State().Formed() {
			t.Fatal("the cluster was formed without the member that has the newest store")
		}
		g.start("b")
		g.ready()
		r = g.nodes["c"].Router()
		if r.State().Cluster != cluster {
			t.Error("it is another cluster")
		}
		if def, ok := r.State().Space("orders"); !ok || def.ID != id {
			t.Fatalf("the space is %v", def)
		}
		for i := range 40 {
			want := "first"
			if i < 20 {
				want = "second"
			}
			if v, _ := read(t, r, id, fmt.Sprint("k", i)); v != want {
				t.Errorf("k%d is %q, want %q", i, v, want)
			}
		}
		if again := write(t, r, id, "k19", "third"); again.Seq <= last.Seq {
			t.Errorf("numbers went back from %d to %d", last.Seq, again.Seq)
		}
		reply, err = r.Control(t.Context(), &CreateSpace{Definition: space.Definition{Name: "more", Shape: space.ShapeBytes}})
		if err != nil || reply.Space <= id {
			t.Errorf("a new space has number %d, %v", reply.Space, err)
		}
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}

// A history that began at a cold start outranks every store of the history before
// it: also one that was left behind then, though it had seen more leaders.
func TestTheSecondColdStartTakesTheSecondHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		id := defaultSpace(t, g.nodes["a"].Router())
		life := func(value string) {
			g.eventually("the cluster is whole", g.whole)
			write(t, g.nodes["a"].Router(), id, "k", value)
			time.Sleep(time.Second)
			for _, m := range []string{"a", "b", "c"} {
				g.stores[m].freeze()
				g.crash(m)
			}
			time.Sleep(time.Second)
		}
		life("first")
		for _, r := range g.stores["b"].rows {
			r.Epoch += 50
			r.At.Seq -= min(r.At.Seq, 1)
		}
		// From here on b's store stays as it is.
		g.stores["a"].thaw()
		g.stores["c"].thaw()
		g.start("a", "b", "c")
		g.ready()
		life("second")
		for p, b := range g.stores["b"].rows {
			if a := g.stores["a"].rows[p]; a.Epoch <= b.Epoch {
				t.Errorf("partition %d: the new history is at epoch %d, the store left behind at %d", p, a.Epoch, b.Epoch)
			}
			g.stores["b"].thaw()
		}
		g.stores["a"].thaw()
		g.stores["c"].thaw()
		g.start("a", "b", "c")
		g.ready()
		if v, _ := read(t, g.nodes["a"].Router(), id, "k"); v != "second" {
			t.Errorf("k is %q, what was acknowledged last is gone", v)
		}
	})
}

// The changelog is trimmed no further than the stores of a majority have come.
func TestTrimWaitsForStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keep = 10 * time.Second
		g := newRig(t, 3, NodeConfig{Retention: keep})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "k", "1")
		time.Sleep(time.Second)
		g.stores["a"].freeze()
		held := write(t, r, id, "k", "2").Seq
		time.Sleep(time.Second)
		g.stores["b"].freeze()
		write(t, r, id, "k", "3")
		time.Sleep(2 * keep)
		for _, n := range g.nodes {
			h := n.held(r.State().Table[at(r, "k")])
			var st space.Status
			if err := h.group.Inspect(t.Context(), func() { st = h.host.partition(at(r, "k")).Status() }); err != nil {
				t.Fatal(err)
			}
			if st.Floor != held || st.Watermarks[0].Seq != held {
				t.Errorf("%s: floor %d, watermark %d, want %d", n.name, st.Floor, st.Watermarks[0].Seq, held)
			}
		}
	})
}

// A cold start waits for every member that has a store, until the operator
// declares one lost. When it comes back after all, it is welcome as a new one.
func TestColdStartGoesOnWithoutALostMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data", Durability: Memory})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "k", "v")
		time.Sleep(time.Second)
		for _, m := range []string{"a", "b", "c"} {
			g.stores[m].freeze()
		}
		for _, m := range []string{"a", "b", "c"} {
			g.crash(m)
			g.stores[m].thaw()
		}
		// What the members have agreed on is on their disks; what the partitions
		// held was in their memory.
		g.start("a", "b")
		time.Sleep(20 * time.Second)
		if v, err := tryRead(g.nodes["a"].Router(), id, "k"); err == nil {
			t.Fatalf("read %q though a store is missing", v)
		}
		m, _ := g.nodes["a"].control.State().Member("c")
		if _, err := g.nodes["a"].Router().Control(t.Context(), &DeclareLost{Member: "c", Incarnation: m.Incarnation}); err != nil {
			t.Fatal(err)
		}
		g.ready()
		if v, _ := read(t, g.nodes["a"].Router(), id, "k"); v != "v" {
			t.Errorf("k is %q", v)
		}
		g.start("c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}

func tryRead(r *Router, id space.ID, key string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l := &Lookup{Get: Get{Partition: at(r, key), Space: id, Key: []byte(key)}}
	r.Read(ctx, Linearizable, []*Lookup{l})
	return string(l.Found.Entry.Value), l.Err
}
