package sinktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Source is a partition that a test changes and a pump reads. Its methods may be
// called concurrently.
type Source struct {
	mu      sync.Mutex
	p       *space.Partition
	now     space.Time
	changes []space.Change // all of them, trimmed or not
	tokens  []space.Token  // of the claims made by random commands
	base    Content        // what the partition held before the first of changes
}

var _ datapump.Source = (*Source)(nil)

// NewSource returns an empty partition in its first epoch.
func NewSource(id space.PartitionID, history space.History) *Source {
	s := &Source{p: space.New(id, history), base: Content{}}
	s.Apply(space.EpochCommand(0))
	return s
}

// SourceOf returns a source of a loaded partition, in a new epoch.
func SourceOf(p *space.Partition) *Source {
	s := &Source{p: p, base: ContentOf(p.Image()), now: p.Clock()}
	s.Apply(space.EpochCommand(0))
	return s
}

// Apply applies a command one millisecond after the last one and returns its
// reply. It panics if the reply does not decode.
func (s *Source) Apply(c space.Command) space.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.p.Changelog().Last()
	s.now = s.now.Add(time.Millisecond)
	r, err := space.DecodeReply(s.p.Apply(s.now, &c))
	if err != nil {
		panic(err)
	}
	if s.changes, err = s.p.Changelog().Read(s.changes, before, 1<<30); err != nil && s.p.Changelog().Last() != before {
		panic(err)
	}
	return r
}

// Put writes one entry of bytes.
func (s *Source) Put(id space.ID, key, value string) space.Reply {
	return s.Apply(space.Command{Ops: []space.Op{{Code: space.OpWrite, Space: id, Key: []byte(key), Value: []byte(value)}}})
}

// Define creates a space.
func (s *Source) Define(id space.ID) space.Reply {
	return s.Apply(space.DefineCommand(&space.Definition{ID: id, Name: fmt.Sprintf("space-%d", id)}))
}

// Random applies so many random commands: writes, removals, leases that end,
// claims that are acknowledged, given back or forgotten, last attempts, commands
// of several operations, and now and then a space that is altered, dropped or
// created.
func (s *Source) Random(rng *rand.Rand, commands int) {
	for range commands {
		id := space.ID(1 + rng.IntN(3))
		switch n := rng.IntN(100); {
		case n < 3:
			s.Apply(space.DropCommand(id))
		case n < 8:
			s.Apply(space.DefineCommand(&space.Definition{
				ID: id, Name: fmt.Sprintf("space-%d", id), Lease: time.Duration(rng.IntN(3)) * time.Second,
				MaxAttempts: 2, DeadLetter: id%3 + 1,
			}))
		case n < 10:
			s.Apply(space.TickCommand())
		default:
			c := space.Command{Independent: true}
			for range 1 + rng.IntN(4) {
				c.Ops = append(c.Ops, s.randomOp(rng, id))
			}
			s.keepTokens(s.Apply(c))
		}
	}
}

// keepTokens keeps the latest tokens that a reply has.
func (s *Source) keepTokens(r space.Reply) {
	for i := range r.Results {
		for _, e := range r.Results[i].Entries {
			if e.Token != (space.Token{}) {
				s.tokens = append(s.tokens, e.Token)
			}
		}
	}
	s.tokens = s.tokens[max(0, len(s.tokens)-8):]
}

func (s *Source) randomOp(rng *rand.Rand, id space.ID) space.Op {
	o := space.Op{Space: id, Key: fmt.Appendf(nil, "key-%02d", rng.IntN(24))}
	switch n := rng.IntN(9); n {
	case 0:
		o.Code = space.OpTake
	case 1:
		o.Code, o.Lease = space.OpRenew, time.Duration(1+rng.IntN(50))*time.Millisecond
	case 2, 3:
		o.Code, o.Lease = space.OpClaim, time.Duration(1+rng.IntN(30))*time.Millisecond
	case 4, 5:
		if len(s.tokens) == 0 {
			return s.randomOp(rng, id)
		}
		o = space.Op{Code: space.OpAck, Token: s.tokens[rng.IntN(len(s.tokens))]}
		if n == 5 {
			o.Code, o.Lease = space.OpNack, time.Duration(rng.IntN(3)*10)*time.Millisecond
			o.Mutations = []space.Mutation{{Code: space.MutAppend, Arg: []byte("!")}}
		}
	default:
		o.Code = space.OpWrite
		o.Value = make([]byte, rng.IntN(64))
		for i := range o.Value {
			o.Value[i] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			o.Lease = time.Duration(1+rng.IntN(50)) * time.Millisecond
		}
	}
	return o
}

// Trim drops the changes at or below floor from the changelog.
func (s *Source) Trim(floor space.Seq) { s.Apply(space.TrimCommand(space.Trim{Floor: floor})) }

// Last returns the partition's last Seq.
func (s *Source) Last() space.Seq { return s.Describe().Last }

// Changes returns all changes the source made, whether trimmed or not.
func (s *Source) Changes() []space.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes[:len(s.changes):len(s.changes)]
}

// At returns the content of the partition as of a Seq.
func (s *Source) At(seq space.Seq) Content {
	c := s.base.clone()
	for _, x := range s.Changes() {
		if x.Seq <= seq {
			c.Fold(&x)
		}
	}
	return c
}

// Fence returns the fence of the source as it is now.
func (s *Source) Fence() datapump.Fence {
	d := s.Describe()
	return datapump.Fence{Partition: s.p.ID(), History: d.History, Origin: d.Origin, Epoch: d.Epoch}
}

// Section returns the changes in (after, through] as a section in the current
// epoch.
func (s *Source) Section(after, through space.Seq) datapump.Section {
	f := s.Fence()
	x := datapump.Section{Partition: f.Partition, History: f.History, Epoch: f.Epoch, After: after, Through: through}
	for _, c := range s.Changes() {
		if c.Seq > after && c.Seq <= through {
			x.Changes = append(x.Changes, c)
			x.Clock = c.At
		}
	}
	return x
}

// Describe implements datapump.Source.
func (s *Source) Describe() datapump.Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.p.Status()
	return datapump.Description{History: st.History, Origin: st.Origin, Epoch: st.Epoch, Last: st.Seq}
}

// Read implements datapump.Source.
func (s *Source) Read(dst []space.Change, after space.Seq, maxBytes int) ([]space.Change, error) {
	return s.p.Changelog().Read(dst, after, maxBytes)
}

// Cut implements datapump.Source.
func (s *Source) Cut(context.Context) (datapump.Cut, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return datapump.Cut{Image: s.p.Image(), Clock: s.p.Clock()}, nil
}
