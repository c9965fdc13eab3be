package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// sinks feeds the external sinks of the grid from the partitions that this member
// leads: one pump for each sink.
type sinks struct {
	kinds  map[string]SinkKind
	log    *slog.Logger
	record *record // the embedded store, for status; may be nil
	node   atomic.Pointer[cluster.Node]
	// fed are the pumps, for those who come by after every command. The slice is
	// replaced, never changed.
	fed atomic.Pointer[[]*sinkPump]

	mu struct {
		sync.Mutex
		version uint64 // of the control state that the pumps are of
		led     map[space.PartitionID]cluster.StoreSource
		closed  bool
	}
	closing sync.WaitGroup // pumps that are no longer wanted
}

var _ cluster.Sinks = (*sinks)(nil)

// sinkPump is one external sink on this member.
type sinkPump struct {
	def  cluster.Sink
	sink *openSink
	pump *datapump.Pump
}

func newSinks(kinds map[string]SinkKind, log *slog.Logger, r *record) *sinks {
	s := &sinks{kinds: kinds, log: log, record: r}
	s.fed.Store(&[]*sinkPump{})
	s.mu.led = map[space.PartitionID]cluster.StoreSource{}
	return s
}

// close stops all pumps and waits for them.
func (s *sinks) close() error {
	s.mu.Lock()
	s.mu.closed = true
	pumps := *s.fed.Load()
	s.fed.Store(&[]*sinkPump{})
	s.mu.Unlock()
	var failed error
	for _, p := range pumps {
		failed = errors.Join(failed, p.close())
	}
	s.closing.Wait()
	return failed
}

func (p *sinkPump) close() error { return errors.Join(p.pump.Close(), p.sink.close()) }

// Define implements cluster.Sinks.
func (s *sinks) Define(version uint64, defs []cluster.Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || version < s.mu.version {
		return
	}
	s.mu.version = version
	old := *s.fed.Load()
	var fed []*sinkPump
	changed := false
	for _, def := range defs {
		if def.Kind == "" {
			continue
		}
		at := slices.IndexFunc(old, func(p *sinkPump) bool { return p.def.ID == def.ID })
		if at >= 0 && old[at].def == def {
			fed = append(fed, old[at])
			continue
		}
		changed = true
		if at >= 0 && old[at].def.Config == def.Config {
			fed = append(fed, old[at].with(def))
			continue
		}
		p, err := s.open(def)
		if err != nil {
			s.log.Error("grid: a sink cannot be fed", "sink", def.Name, "err", err)
			continue
		}
		fed = append(fed, p)
	}
	if !changed && len(fed) == len(old) {
		return
	}
	s.fed.Store(&fed)
	for _, p := range old {
		if !slices.ContainsFunc(fed, func(q *sinkPump) bool { return q.pump == p.pump }) {
			s.closing.Go(func() {
				if err := p.close(); err != nil {
					s.log.Warn("grid: a sink did not close well", "sink", p.def.Name, "err", err)
				}
			})
		}
	}
}

// with returns the same pump under another definition that differs in whether it
// is required or paused.
func (p *sinkPump) with(def cluster.Sink) *sinkPump {
	if def.Paused {
		pauseSoon(p.pump)
	} else {
		p.pump.Resume()
	}
	return &sinkPump{def: def, sink: p.sink, pump: p.pump}
}

// pauseSoon pauses a pump without waiting for the call that is under way.
func pauseSoon(p *datapump.Pump) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Pause(ctx) // it is paused, whatever ctx says
}

// open starts the pump of a sink and gives it the partitions that are led.
func (s *sinks) open(def cluster.Sink) (*sinkPump, error) {
	log := s.log.With("sink", def.Name)
	settings := SinkSettings{
		Name: def.Name, Config: def.Config, Logger: log, SpaceName: s.knownSpace,
		Watermark: func(ctx context.Context, p space.PartitionID) (space.Seq, error) {
			node := s.node.Load()
			if node == nil {
				return 0, ErrUnavailable
			}
			return node.Watermark(ctx, p, def.ID)
		},
	}
	if def.Spaces != "" {
		settings.Spaces = strings.Split(def.Spaces, ",")
	}
	kind, known := s.kinds[def.Kind]
	sink := &openSink{open: func(ctx context.Context) (datapump.Sink, error) {
		node := s.node.Load()
		switch {
		case !known:
			return nil, fmt.Errorf("grid: this member's program does not know sinks of kind %q (start it with one that does, or remove the sink)", def.Kind)
		case node == nil:
			return nil, ErrUnavailable
		}
		settings.Member, settings.Partitions = node.Name(), len(node.Router().State().Table)
		return kind.Open(ctx, settings)
	}}
	cfg := datapump.Config{Name: def.Name, Sink: sink, EveryChange: kind.EveryChange, Logger: s.log}
	if def.Spaces != "" {
		cfg.Wants = func(id space.ID) bool { return def.Takes(s.spaceName(id)) }
	}
	pump, err := datapump.Open(cfg)
	if err != nil {
		return nil, err
	}
	if def.Paused {
		pauseSoon(pump)
	}
	for p, src := range s.mu.led {
		if err := pump.Add(p, pumpSource{src}); err != nil {
			return nil, errors.Join(err, pump.Close())
		}
	}
	return &sinkPump{def: def, sink: sink, pump: pump}, nil
}

// spaceName returns the name of a space, or its number if it is gone.
func (s *sinks) spaceName(id space.ID) string {
	if name, ok := s.knownSpace(id); ok {
		return name
	}
	return "#" + strconv.FormatUint(uint64(id), 10)
}

// knownSpace returns the name of a space that is there.
func (s *sinks) knownSpace(id space.ID) (string, bool) {
	node := s.node.Load()
	if node == nil {
		return "", false
	}
	def, ok := node.Router().State().SpaceByID(id)
	return def.Name, ok
}

// Lead implements cluster.Sinks.
func (s *sinks) Lead(p space.PartitionID, src cluster.StoreSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.led[p] = src
	for _, x := range *s.fed.Load() {
		if err := x.pump.Add(p, pumpSource{src}); err != nil {
			s.log.Error("grid: a sink does not take a partition", "sink", x.def.Name, "partition", p, "err", err)
		}
	}
}

// Unlead implements cluster.Sinks.
func (s *sinks) Unlead(p space.PartitionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.led, p)
	for _, x := range *s.fed.Load() {
		x.pump.Remove(p)
	}
}

func (s *sinks) leads(p space.PartitionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, led := s.mu.led[p]
	return led
}

// Notify implements cluster.Sinks.
func (s *sinks) Notify(p space.PartitionID) {
	for _, x := range *s.fed.Load() {
		x.pump.Notify(p)
	}
}

// Watermarks implements cluster.Sinks.
func (s *sinks) Watermarks() map[space.SinkID]map[space.PartitionID]space.Seq {
	fed := *s.fed.Load()
	if len(fed) == 0 {
		return nil
	}
	all := make(map[space.SinkID]map[space.PartitionID]space.Seq, len(fed))
	for _, x := range fed {
		marks := map[space.PartitionID]space.Seq{}
		for _, w := range x.pump.Watermarks() {
			marks[w.Partition] = w.Seq
		}
		all[x.def.ID] = marks
	}
	return all
}

// pumpOf returns the pump of a sink; of the embedded store too.
func (s *sinks) pumpOf(name string) (*datapump.Pump, error) {
	if name == storeSinkName && s.record != nil {
		return s.record.pump, nil
	}
	for _, x := range *s.fed.Load() {
		if x.def.Name == name {
			return x.pump, nil
		}
	}
	if node := s.node.Load(); node != nil {
		if slices.ContainsFunc(node.Router().State().Sinks, func(x cluster.Sink) bool { return x.Name == name }) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.mu.led) == 0 {
				return nil, &cluster.NotLeaderError{} // nothing to do with it here
			}
			return nil, fmt.Errorf("%w: the sink is about to be fed", ErrUnavailable)
		}
	}
	return nil, &space.Error{Code: space.CodeNotFound, Detail: fmt.Sprintf("there is no sink %q", name), Hint: "spacegrid sink list shows those there are"}
}

// openSink is a sink that is opened when the pump first needs it: a failure to
// open it is then trouble of the sink like any other, tried again and shown.
type openSink struct {
	open func(context.Context) (datapump.Sink, error)

	mu   sync.Mutex // held while it is opened
	sink datapump.Sink
}

var (
	_ datapump.Sink        = (*openSink)(nil)
	_ datapump.Resyncer    = (*openSink)(nil)
	_ datapump.DeadLetters = (*openSink)(nil)
)

func (o *openSink) get(ctx context.Context) (datapump.Sink, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sink == nil {
		var err error
		if o.sink, err = o.open(ctx); err != nil {
			o.sink = nil
			return nil, err
		}
	}
	return o.sink, nil
}

func (o *openSink) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.sink.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Fence implements datapump.Sink.
func (o *openSink) Fence(ctx context.Context, f datapump.Fence) (datapump.Standing, error) {
	s, err := o.get(ctx)
	if err != nil {
		return datapump.Standing{}, err
	}
	return s.Fence(ctx, f)
}

// Apply implements datapump.Sink.
func (o *openSink) Apply(ctx context.Context, b *datapump.Batch) error {
	s, err := o.get(ctx)
	if err != nil {
		return err
	}
	return s.Apply(ctx, b)
}

// BeginResync implements datapump.Resyncer.
func (o *openSink) BeginResync(ctx context.Context, to datapump.Target) (datapump.Resync, error) {
	s, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	r, ok := s.(datapump.Resyncer)
	if !ok {
		return nil, datapump.ErrNoResync
	}
	return r.BeginResync(ctx, to)
}

func (o *openSink) deadLetters(ctx context.Context) (datapump.DeadLetters, error) {
	s, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	if d, ok := s.(datapump.DeadLetters); ok {
		return d, nil
	}
	return nil, datapump.ErrNoDeadLetters
}

// List implements datapump.DeadLetters.
func (o *openSink) List(ctx context.Context, after datapump.LetterID, limit int) ([]datapump.Letter, error) {
	d, err := o.deadLetters(ctx)
	if err != nil {
		return nil, err
	}
	return d.List(ctx, after, limit)
}

// Replay implements datapump.DeadLetters.
func (o *openSink) Replay(ctx context.Context, id datapump.LetterID) error {
	d, err := o.deadLetters(ctx)
	if err != nil {
		return err
	}
	return d.Replay(ctx, id)
}

// Drop implements datapump.DeadLetters.
func (o *openSink) Drop(ctx context.Context, id datapump.LetterID) error {
	d, err := o.deadLetters(ctx)
	if err != nil {
		return err
	}
	return d.Drop(ctx, id)
}

// SinkStatus is how one sink is fed from one member, as Inspect("sinks") tells.
type SinkStatus struct {
	PumpStatus
	Kind       string                `json:"kind"`
	Required   bool                  `json:"required"`
	Breaker    string                `json:"breaker"` // closed, open, half-open
	Retries    int                   `json:"retries"` // failures of the sink in a row
	RetryMS    int64                 `json:"retry_ms,omitempty"`
	Rate       float64               `json:"rate"`       // changes that became durable, a second
	BatchMean  float64               `json:"batch_mean"` // changes in a batch
	Parked     uint64                `json:"parked"`
	Partitions []SinkPartitionStatus `json:"partitions"`
}

// SinkPartitionStatus is how far a sink is with one partition.
type SinkPartitionStatus struct {
	Partition      space.PartitionID `json:"partition"`
	State          string            `json:"state"`
	Watermark      space.Seq         `json:"watermark"`
	Last           space.Seq         `json:"last"`
	BacklogChanges uint64            `json:"backlog_changes"`
	BacklogBytes   uint64            `json:"backlog_bytes"`
	LagMillis      int64             `json:"lag_ms"`
	Rate           float64           `json:"rate"`
	Retries        int               `json:"retries"`
	DeadLetters    uint64            `json:"dead_letters"`
	Parked         uint64            `json:"parked"`
	Trouble        string            `json:"trouble,omitempty"`
}

// Inspect implements cluster.StoreInspector: it returns a []SinkStatus, the
// embedded store first.
func (s *sinks) Inspect() any {
	all := []SinkStatus{}
	if s.record != nil {
		all = append(all, sinkStatus(s.record.pump, storeSinkName, true))
	}
	for _, x := range *s.fed.Load() {
		all = append(all, sinkStatus(x.pump, x.def.Kind, x.def.Required))
	}
	return all
}

func sinkStatus(p *datapump.Pump, kind string, required bool) SinkStatus {
	st := p.Status()
	v := SinkStatus{
		PumpStatus: pumpStatus(&st), Kind: kind, Required: required, Breaker: st.Breaker.String(), Retries: st.Failures,
		BatchMean: st.BatchMean, Partitions: make([]SinkPartitionStatus, 0, len(st.Partitions)),
	}
	if !st.Retry.IsZero() {
		v.RetryMS = max(0, st.RetryIn.Milliseconds())
	}
	for i := range st.Partitions {
		q := &st.Partitions[i]
		x := SinkPartitionStatus{
			Partition: q.Partition, State: q.State.String(), Watermark: q.Watermark, Last: q.Last,
			BacklogChanges: q.BacklogChanges, BacklogBytes: q.BacklogBytes, LagMillis: q.Lag.Milliseconds(),
			Rate: q.Rate, Retries: q.Retries, DeadLetters: q.DeadLetters, Parked: q.Parked,
		}
		if q.Err != nil {
			x.Trouble = q.Err.Error()
		}
		v.Rate += q.Rate
		v.Parked += q.Parked
		v.Partitions = append(v.Partitions, x)
	}
	slices.SortFunc(v.Partitions, func(a, b SinkPartitionStatus) int { return cmp.Compare(a.Partition, b.Partition) })
	return v
}
