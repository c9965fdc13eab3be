package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
	"github.com/spacegrid/spacegrid/writer"
)

// record is the embedded store of a member: a pump that follows the member's own
// partitions, a writer behind it, a reader for a cold start, all over one store.
type record struct {
	// aside is the damaged store that this one has replaced, until it holds
	// everything again; nil or "" if there is none.
	aside  atomic.Pointer[string]
	store  *store.Store
	pump   *datapump.Pump
	writer *writer.Writer
	reader *reader.Reader
}

var _ cluster.Store = (*record)(nil)

// openRecord opens the store that cfg describes and starts the pump. A damaged store is set aside, and a new one is filled from
// the member's partitions; until it is, it does not count as a store to start from,
// unless loss is accepted.
func openRecord(cfg store.Config, acceptLoss bool) (*record, error) {
	s, err := store.Open(cfg)
	if errors.Is(err, store.ErrDamaged) {
		var aside string
		damage := err
		if aside, err = cfg.SetAside(); err != nil {
			return nil, errors.Join(damage, err)
		}
		cfg.Logger.Error("the store is damaged; it is set aside, and a new one is filled from the grid", "folder", cfg.Dir, "aside", aside, "err", damage)
		s, err = store.Open(cfg)
	}
	if err != nil {
		return nil, err
	}
	r := &record{store: s, reader: reader.New(s)}
	if err := r.lookAside(&cfg, acceptLoss); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r.writer = writer.New(s, cfg.Logger)
	r.pump, err = datapump.Open(datapump.Config{
		Name: storeSinkName, Sink: r.writer, Logger: cfg.Logger,
		// The member's partitions are the truth: a store that holds another
		// history belongs to a replica that was replaced or started cold.
		Takeover: true,
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return r, nil
}

// metaRebuilt is the record of the store that names the last damaged folder whose
// place it has filled.
const metaRebuilt = "rebuilt"

// lookAside finds out whether the store has yet to fill the place of a damaged one.
func (r *record) lookAside(cfg *store.Config, acceptLoss bool) error {
	aside, err := cfg.Aside()
	if err != nil || aside == "" || acceptLoss {
		return err
	}
	rebuilt, err := r.store.Meta(metaRebuilt)
	if err != nil && !errors.Is(err, store.ErrNoMeta) {
		return err
	}
	if string(rebuilt) != filepath.Base(aside) {
		r.aside.Store(&aside)
	}
	return nil
}

// rebuilt notes, once it is so, that the store holds all that the member's partitions
// do.
func (r *record) rebuilt() {
	aside := r.aside.Load()
	if aside == nil {
		return
	}
	s := r.pump.Status()
	if s.Err != nil || len(s.Partitions) == 0 {
		return
	}
	for i := range s.Partitions {
		if p := &s.Partitions[i]; p.Err != nil || p.State != datapump.Following || p.BacklogChanges > 0 {
			return
		}
	}
	// An error has ended the store, whose owner was told.
	if r.store.SetMeta(metaRebuilt, []byte(filepath.Base(*aside))) == nil {
		r.aside.CompareAndSwap(aside, nil)
	}
}

const storeSinkName = "store"

func (r *record) close() error { return errors.Join(r.pump.Close(), r.store.Close()) }

// boundGrid is what all partitions of a stored grid have in common, as it is kept
// in the store.
type boundGrid struct {
	Cluster   cluster.ClusterID  `json:"cluster"`
	Version   uint64             `json:"version"`
	Owner     cluster.MemberID   `json:"owner"`
	Members   []cluster.MemberID `json:"members"`
	Count     int                `json:"partitions"`
	LastSpace space.ID           `json:"last_space"`
	Spaces    [][]byte           `json:"spaces"` // encoded definitions
	Sinks     []boundSink        `json:"sinks"`
}

type boundSink struct {
	ID       space.SinkID `json:"id"`
	Name     string       `json:"name"`
	Required bool         `json:"required"`
	Kind     string       `json:"kind,omitempty"`
	Spaces   string       `json:"spaces,omitempty"`
	Config   string       `json:"config,omitempty"`
	Paused   bool         `json:"paused,omitempty"`
}

// ErrForeignStore is returned when a member's store belongs to another cluster
// than the one the member is in. Nothing in it has been changed.
var ErrForeignStore = errors.New("grid: the store in the data folder belongs to another cluster (start the member with that cluster, or with an empty data folder)")

// Bind implements cluster.Store. A store stays with the cluster that it was bound
// to first: what it holds may be all that is left of that one.
func (r *record) Bind(_ context.Context, g cluster.StoredGrid) error {
	old, err := r.account()
	if err != nil {
		return err
	}
	if !old.Cluster.IsZero() && old.Cluster != g.Cluster {
		return fmt.Errorf("%w: %s, not %s", ErrForeignStore, old.Cluster, g.Cluster)
	}
	bound := boundGrid{
		Cluster: g.Cluster, Version: g.Version, Owner: g.Owner, Members: g.Members,
		Count: g.Count, LastSpace: g.LastSpace,
	}
	for i := range g.Spaces {
		bound.Spaces = append(bound.Spaces, space.AppendDefinition(nil, &g.Spaces[i]))
	}
	for _, s := range g.Sinks {
		bound.Sinks = append(bound.Sinks, boundSink{s.ID, s.Name, s.Required, s.Kind, s.Spaces, s.Config, s.Paused})
	}
	b, err := json.Marshal(bound)
	if err != nil {
		return fmt.Errorf("grid: bind the store: %w", err)
	}
	return r.store.SetMeta(store.MetaCluster, b)
}

// Stored implements cluster.Store.
func (r *record) Stored(context.Context) (cluster.StoredGrid, error) {
	if aside := r.aside.Load(); aside != nil {
		return cluster.StoredGrid{}, fmt.Errorf("%w: it is in %s (restore it, or accept the loss of what only it has: AcceptLoss, --accept-loss)", cluster.ErrStoreLost, *aside)
	}
	return r.account()
}

// account returns what the store holds.
func (r *record) account() (cluster.StoredGrid, error) {
	b, err := r.store.Meta(store.MetaCluster)
	if errors.Is(err, store.ErrNoMeta) {
		return cluster.StoredGrid{}, nil
	}
	if err != nil {
		return cluster.StoredGrid{}, err
	}
	var bound boundGrid
	if err := json.Unmarshal(b, &bound); err != nil {
		return cluster.StoredGrid{}, fmt.Errorf("grid: the store's account of its grid does not read: %w", err)
	}
	positions, err := r.reader.Positions()
	if err != nil {
		return cluster.StoredGrid{}, err
	}
	g := cluster.StoredGrid{
		Cluster: bound.Cluster, Version: bound.Version, Owner: bound.Owner, Members: bound.Members,
		Count: bound.Count, LastSpace: bound.LastSpace,
	}
	for _, b := range bound.Spaces {
		def, err := space.DecodeDefinition(b)
		if err != nil {
			return cluster.StoredGrid{}, err
		}
		g.Spaces = append(g.Spaces, def)
	}
	for _, s := range bound.Sinks {
		g.Sinks = append(g.Sinks, cluster.Sink{
			Sink: space.Sink{ID: s.ID, Name: s.Name, Required: s.Required},
			Kind: s.Kind, Spaces: s.Spaces, Config: s.Config, Paused: s.Paused,
		})
	}
	for _, p := range positions {
		g.Partitions = append(g.Partitions, cluster.StoredPartition{ID: p.Partition, Position: p.Position, Epoch: p.Epoch})
	}
	return g, nil
}

// Load implements cluster.Store.
func (r *record) Load(ctx context.Context, p space.PartitionID, h space.History, above space.Epoch) (*space.Partition, error) {
	return r.reader.Load(ctx, p, h, above)
}

// Export implements cluster.Store.
func (r *record) Export(ctx context.Context, p space.PartitionID, w io.Writer) error {
	_, err := r.reader.Export(ctx, p, w)
	return err
}

// Import implements cluster.Store.
func (r *record) Import(_ context.Context, in io.Reader, h space.History, above space.Epoch) (*space.Partition, error) {
	return reader.Import(in, h, above)
}

// Attach implements cluster.Store.
func (r *record) Attach(p space.PartitionID, src cluster.StoreSource) error {
	return r.pump.Add(p, pumpSource{src})
}

// Detach implements cluster.Store.
func (r *record) Detach(p space.PartitionID) { r.pump.Remove(p) }

// Notify implements cluster.Store.
func (r *record) Notify(p space.PartitionID) { r.pump.Notify(p) }

// Watermarks implements cluster.Store.
func (r *record) Watermarks() map[space.PartitionID]space.Seq {
	r.rebuilt()
	marks := r.pump.Watermarks()
	m := make(map[space.PartitionID]space.Seq, len(marks))
	for _, w := range marks {
		m[w.Partition] = w.Seq
	}
	return m
}

// Flush implements cluster.Store.
func (r *record) Flush(ctx context.Context) error { return r.pump.Flush(ctx) }

// pumpSource is a partition of the cluster as the pump wants it.
type pumpSource struct{ cluster.StoreSource }

func (s pumpSource) Describe() datapump.Description {
	return datapump.Description(s.StoreSource.Describe())
}

func (s pumpSource) Cut(ctx context.Context) (datapump.Cut, error) {
	img, clock, err := s.StoreSource.Cut(ctx)
	return datapump.Cut{Image: img, Clock: clock}, err
}

// PumpStatus is how far a member's store is, as Inspect("pump") tells.
type PumpStatus struct {
	Sink           string `json:"sink"`
	State          string `json:"state"` // following, behind, paused, failing
	BacklogChanges uint64 `json:"backlog_changes"`
	BacklogBytes   uint64 `json:"backlog_bytes"`
	LagMillis      int64  `json:"lag_ms"`
	Written        uint64 `json:"written"`
	Batches        uint64 `json:"batches"`
	Resyncs        uint64 `json:"resyncs"`
	Failures       uint64 `json:"failures"`
	DeadLetters    uint64 `json:"dead_letters"`
	Trouble        string `json:"trouble,omitempty"`
}

// Inspect implements cluster.StoreInspector: it returns a PumpStatus.
func (r *record) Inspect() any {
	s := r.pump.Status()
	return pumpStatus(&s)
}

// pumpStatus sums up how a pump is.
func pumpStatus(s *datapump.Status) PumpStatus {
	v := PumpStatus{
		Sink: s.Sink, State: "following", Written: s.Stats.Written, Batches: s.Stats.Batches,
		Resyncs: s.Stats.Resyncs, Failures: s.Stats.Failures,
	}
	trouble := s.Err
	for i := range s.Partitions {
		p := &s.Partitions[i]
		v.BacklogChanges += p.BacklogChanges
		v.BacklogBytes += p.BacklogBytes
		v.DeadLetters += p.DeadLetters
		v.LagMillis = max(v.LagMillis, p.Lag.Milliseconds())
		if trouble == nil {
			trouble = p.Err
		}
	}
	switch {
	case s.Paused:
		v.State = "paused"
	case trouble != nil:
		v.State, v.Trouble = "failing", trouble.Error()
	case v.BacklogChanges > 0:
		v.State = "behind"
	}
	return v
}
