package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// SinkKind is a kind of external sink that a member's program knows: see
// Config.Sinks. Every member that may lead a partition needs the kinds of all
// sinks.
type SinkKind struct {
	// Open returns a sink for settings. It may block until ctx ends and is tried
	// again when it fails. A sink that is also an io.Closer is closed when it is no
	// longer fed from this member.
	Open func(ctx context.Context, s SinkSettings) (datapump.Sink, error)
	// EveryChange hands every single change to the sink; otherwise those of one
	// entry within a batch are folded into the last.
	EveryChange bool
}

// SinkSettings are what a SinkKind gets to open a sink with.
type SinkSettings struct {
	Name   string
	Spaces []string // that the sink gets; empty: all
	Config string   // as the sink was defined
	Member MemberID // who feeds it
	Logger *slog.Logger
	// Partitions is how many the grid has.
	Partitions int
	// SpaceName returns the name of a space that the cluster has agreed on, as far as
	// this member knows.
	SpaceName func(space.ID) (string, bool)
	// Watermark returns what the replicas of a partition agree on to be durable in
	// the sink, 0 if nothing: for sinks that cannot keep that themselves.
	Watermark func(ctx context.Context, p space.PartitionID) (space.Seq, error)
}

// SinkDefinition is a sink as the cluster has agreed on it.
type SinkDefinition struct {
	Name string `json:"name"`
	// Kind is one of Config.Sinks; "store" is the embedded store of every member.
	Kind string `json:"kind"`
	// Required sinks hold changes until they have them: see ErrHeldBack. Others
	// start over from an image when they have been away for too long.
	Required bool `json:"required"`
	// Spaces are the names of those that the sink gets; empty: all.
	Spaces []string `json:"spaces,omitempty"`
	// Config is for the kind, such as YAML or JSON. It is shown to everybody who may
	// see the sinks: a secret belongs into the environment, or a file, that it names.
	Config string `json:"config,omitempty"`
	Paused bool   `json:"paused,omitempty"`
}

// SinkAlteration is what may change of a sink; nil stays as it is.
type SinkAlteration struct {
	Required *bool
	Paused   *bool
	Config   *string
}

// Errors about sinks, for errors.Is.
var (
	ErrNoSink       = cluster.ErrNoSink       // no sink of that name
	ErrSinkConflict = cluster.ErrSinkConflict // a sink of that name with another definition
	// ErrHeldBack: a required sink is so far behind that writes are refused for a
	// while. The write had no effect.
	ErrHeldBack = cluster.ErrHeldBack
	// ErrDeadLettered: a required sink has refused the change for good, or keeps it
	// waiting behind one that it refused.
	ErrDeadLettered = datapump.ErrDeadLettered
)

// Sinks returns the definitions of all sinks, the embedded store first.
func (g *Grid) Sinks() []SinkDefinition {
	var defs []SinkDefinition
	for _, s := range g.router.State().Sinks {
		d := SinkDefinition{Name: s.Name, Kind: s.Kind, Required: s.Required, Config: s.Config, Paused: s.Paused}
		if s.Kind == "" {
			d.Kind = storeSinkName
		}
		if s.Spaces != "" {
			d.Spaces = strings.Split(s.Spaces, ",")
		}
		defs = append(defs, d)
	}
	return defs
}

// AddSink defines a sink. From then on the leader of every partition feeds it,
// from the beginning or from an image. Adding it again with the same definition
// is not an error.
func (g *Grid) AddSink(ctx context.Context, d SinkDefinition) error {
	if d.Kind == storeSinkName || d.Kind == "" {
		return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("a sink of kind %q cannot be added", d.Kind), Hint: "name one of the kinds that the members' program knows"}
	}
	names := slices.Compact(slices.Sorted(slices.Values(d.Spaces)))
	for _, name := range names {
		if _, err := g.Describe(ctx, name); err != nil {
			return err
		}
	}
	s := cluster.Sink{
		Sink: space.Sink{Name: d.Name, Required: d.Required}, Kind: d.Kind, Spaces: strings.Join(names, ","),
		Config: d.Config, Paused: d.Paused,
	}
	_, err := g.router.Control(ctx, &cluster.AddSink{Sink: s})
	return asRefusal(err)
}

// AlterSink changes what may change of a sink: settings take effect when it is
// opened anew, at once; a sink that is paused lets changes pile up.
func (g *Grid) AlterSink(ctx context.Context, name string, a SinkAlteration) error {
	_, err := g.router.Control(ctx, &cluster.AlterSink{Name: name, Required: a.Required, Paused: a.Paused, Config: a.Config})
	return asRefusal(err)
}

// RemoveSink ends the feeding of a sink; what it holds stays.
func (g *Grid) RemoveSink(ctx context.Context, name string) error {
	_, err := g.router.Control(ctx, &cluster.RemoveSink{Name: name})
	return asRefusal(err)
}

// FlushSink waits until a sink has everything that was written before the call.
// Of the embedded store, every member's that answers.
func (g *Grid) FlushSink(ctx context.Context, name string) error {
	return g.operateAll(ctx, &sinkRequest{Do: doFlush, Sink: name})
}

// ResyncSink has a sink brought up again from images of all partitions, whatever
// it holds, also what another grid has left in it. It returns when that has begun
// everywhere; FlushSink waits for the end.
func (g *Grid) ResyncSink(ctx context.Context, name string) error {
	return g.operateAll(ctx, &sinkRequest{Do: doResync, Sink: name})
}

const operateAgain = 50 * time.Millisecond

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// DeadLetterID names a dead letter of a sink.
type DeadLetterID struct {
	Partition space.PartitionID `json:"partition"`
	Seq       space.Seq         `json:"seq"`
}

// DeadLetter is a change that a sink has refused for good, or that waits for one.
type DeadLetter struct {
	DeadLetterID
	Parked bool      `json:"parked"` // it waits for another
	Reason string    `json:"reason"`
	Space  string    `json:"space"`
	Key    []byte    `json:"key"`
	Op     string    `json:"op"`
	Value  []byte    `json:"value,omitempty"` // after the change, as entries have it
	At     time.Time `json:"at"`              // when it was refused
}

// DeadLetters returns at most limit dead letters of a sink that come after one;
// the zero DeadLetterID comes before all.
func (g *Grid) DeadLetters(ctx context.Context, sink string, after DeadLetterID, limit int) ([]DeadLetter, error) {
	b, err := g.operateOne(ctx, &sinkRequest{Do: doDead, Sink: sink, ID: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	var letters []DeadLetter
	if err := json.Unmarshal(b, &letters); err != nil {
		return nil, fmt.Errorf("grid: dead letters: %w", err)
	}
	return letters, nil
}

// ReplayDeadLetter has a sink take a dead letter after all, and what waited for
// it. A letter that is refused again stays.
func (g *Grid) ReplayDeadLetter(ctx context.Context, sink string, id DeadLetterID) error {
	_, err := g.operateOne(ctx, &sinkRequest{Do: doReplay, Sink: sink, ID: id})
	return err
}

// DropDeadLetter gives a dead letter up and has the sink take what waited for it.
func (g *Grid) DropDeadLetter(ctx context.Context, sink string, id DeadLetterID) error {
	_, err := g.operateOne(ctx, &sinkRequest{Do: doDrop, Sink: sink, ID: id})
	return err
}

// WaitDurable waits until a change is durable in every required sink: that is, a
// version in the partition of its key. It fails with ErrDeadLettered if one of
// them has refused the change. Without required sinks it returns when the change
// is there.
func (g *Grid) WaitDurable(ctx context.Context, p space.PartitionID, version space.Seq) error {
	for {
		b, err := g.operateOne(ctx, &sinkRequest{Do: doDurable, ID: DeadLetterID{p, version}})
		if err == nil {
			var dead *refusedVersion
			if err := json.Unmarshal(b, &dead); err != nil {
				return fmt.Errorf("grid: wait until durable: %w", err)
			}
			if dead != nil {
				return dead.error()
			}
			return nil
		}
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrIndeterminate) || !rest(ctx, operateAgain) {
			return err
		}
	}
}

// refusedVersion says that a sink has a change among its dead letters.
type refusedVersion struct {
	Sink   string       `json:"sink"`
	ID     DeadLetterID `json:"id"`
	Reason string       `json:"reason"`
}

func (r *refusedVersion) error() error {
	return &datapump.DeadLetteredError{Sink: r.Sink, Letter: datapump.Letter{
		Partition: r.ID.Partition, DeadLetter: datapump.DeadLetter{Seq: r.ID.Seq, Reason: r.Reason},
	}}
}
