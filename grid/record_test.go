package grid

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"testing"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// led is a partition as a member's record sees it.
type led struct {
	p *space.Partition
	// turn is held by whoever applies and by who must not look meanwhile.
	turn *sync.Mutex
}

func newLed(p *space.Partition) led { return led{p: p, turn: new(sync.Mutex)} }

func (s led) Describe() cluster.StoreDescription {
	s.turn.Lock()
	defer s.turn.Unlock()
	st := s.p.Status()
	return cluster.StoreDescription{History: st.History, Origin: st.Origin, Epoch: st.Epoch, Last: st.Seq}
}

func (s led) Read(dst []space.Change, after space.Seq, n int) ([]space.Change, error) {
	return s.p.Changelog().Read(dst, after, n)
}

func (s led) Cut(context.Context) (*space.Image, space.Time, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.p.Image(), s.p.Clock(), nil
}

// elect gives the partition so many new leaders, one after the other.
func (s led) elect(leaders int) {
	s.turn.Lock()
	defer s.turn.Unlock()
	for range leaders {
		c := space.EpochCommand(1)
		s.p.Apply(s.p.Clock(), &c)
	}
}

func (s led) write(entries int) {
	s.turn.Lock()
	defer s.turn.Unlock()
	for i := range entries {
		op := space.Op{Code: space.OpWrite, Space: 1, Key: []byte{'k', byte(i)}, Value: []byte("v")}
		s.p.Apply(s.p.Clock(), &space.Command{Ops: []space.Op{op}})
	}
}

func newRecord(t *testing.T) *record {
	t.Helper()
	r, err := openRecord(t.TempDir(), slog.New(slog.DiscardHandler), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// follow has a record hold all that a partition has.
func (r *record) follow(t *testing.T, s led) {
	t.Helper()
	if err := r.Attach(s.p.ID(), s); err != nil {
		t.Fatal(err)
	}
	r.catchUp(t)
}

func (r *record) catchUp(t *testing.T) {
	t.Helper()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *record) epoch(t *testing.T) space.Epoch {
	t.Helper()
	ps, err := r.reader.Positions()
	if err != nil || len(ps) != 1 {
		t.Fatalf("the store holds %v, %v", ps, err)
	}
	return ps[0].Epoch
}

// Of two stores the one that was written in the later history has the greater
// epoch, also if the other one was attached more often, after more leaders, and
// was away when that history began.
func TestTheLaterHistoryHasTheGreaterEpoch(t *testing.T) {
	stays, returns := newRecord(t), newRecord(t)
	first := newLed(space.New(0, space.History{1}))
	first.elect(1)
	def := space.DefineCommand(&space.Definition{ID: 1, Name: "s", Shape: space.ShapeBytes})
	first.p.Apply(0, &def)
	stays.follow(t, first)
	first.elect(5)
	first.write(100)
	returns.follow(t, first)
	stays.catchUp(t)
	returns.Detach(0)
	first.write(20)
	stays.catchUp(t)
	stays.Detach(0)
	if got := stays.epoch(t); got != first.p.Epoch() {
		t.Errorf("a store that stayed is at epoch %d, its partition at %d", got, first.p.Epoch())
	}
	p, err := stays.Load(t.Context(), 0, space.History{2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := newLed(p)
	stays.follow(t, second)
	second.write(300)
	stays.catchUp(t)
	if later, earlier := stays.epoch(t), returns.epoch(t); later <= earlier {
		t.Errorf("the store of the later history is at epoch %d, that of the earlier at %d: acknowledged changes are lost", later, earlier)
	}
}

// A store gives back the account of its cluster that it was bound to, so that a
// cold start knows whom to wait for.
func TestARecordKeepsWhatItIsBoundTo(t *testing.T) {
	r := newRecord(t)
	want := cluster.StoredGrid{
		Cluster: cluster.ClusterID{1}, Version: 7, Owner: "a", Members: []cluster.MemberID{"a", "b"}, Count: 4, LastSpace: 2,
		Spaces: []space.Definition{{ID: 1, Name: "s", Shape: space.ShapeBytes}},
		Sinks:  []cluster.Sink{{Sink: space.Sink{ID: 1, Name: "store", Required: true}}, {Sink: space.Sink{ID: 2, Name: "pg"}, Kind: "postgres", Spaces: "a,b", Config: "{}", Paused: true}},
	}
	if err := r.Bind(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Stored(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the store says %+v, %v, want %+v", got, err, want)
	}
}
