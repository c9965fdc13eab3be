package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
)

// MaxSinkConfigBytes bounds the settings of one sink.
const MaxSinkConfigBytes = 64 << 10

// maxSinkSpaces bounds the names of a sink's spaces, joined.
const maxSinkSpaces = 16 << 10

// Sink is a sink of the grid as the control group has agreed on it. Two are equal
// if they are the same in every respect.
type Sink struct {
	space.Sink
	// Kind names what the sink is; the members' programs know how to open it.
	// Empty: the embedded store, which every replica feeds by itself. Others are
	// fed by the leader of each partition.
	Kind string
	// Spaces are the names of the spaces that the sink gets, ascending, with
	// commas between; empty: all of them.
	Spaces string
	// Config is for the kind, which checks it: such as YAML or JSON. It is shown
	// to whoever may see the sinks; what is secret belongs where it refers to.
	Config string
	// Paused sinks are not fed.
	Paused bool
}

// Takes reports whether the sink gets a space of that name.
func (s *Sink) Takes(name string) bool {
	return s.Spaces == "" || slices.Contains(strings.Split(s.Spaces, ","), name)
}

// Sinks feeds external sinks from the partitions that a member leads. The methods
// may be called concurrently and must not block, but for Operate.
type Sinks interface {
	// Define says which sinks there are, the embedded store among them, as of a
	// version of the control state. An older version than one before is ignored.
	Define(version uint64, sinks []Sink)
	// Lead begins to feed all sinks from a partition that this member leads from
	// now on, and Unlead ends it. src may be used as long as it tells of the
	// partition.
	Lead(p space.PartitionID, src StoreSource)
	Unlead(p space.PartitionID)
	// Notify says that a partition that is led has new changes.
	Notify(p space.PartitionID)
	// Watermarks returns the last durable change of every partition that is fed,
	// by sink.
	Watermarks() map[space.SinkID]map[space.PartitionID]space.Seq
	// Operate carries out what an operator, or a writer who waits, asks of the
	// sinks of this member.
	Operate(ctx context.Context, request []byte) ([]byte, error)
}

// AddSink defines a sink. An equal one of that name is answered as if it had just
// been added. The ID is not looked at; the reply has the one that was given.
type AddSink struct{ Sink Sink }

// AlterSink changes what may change of a sink: what it is and which spaces it
// gets stay, since what it holds would not be whole otherwise. nil leaves each
// as it is.
type AlterSink struct {
	Name     string
	Required *bool
	Paused   *bool
	Config   *string
}

// RemoveSink ends the feeding of a sink. What it holds stays where it is, and its
// ID is never given again.
type RemoveSink struct{ Name string }

func (*AddSink) kind() commandKind    { return kindAddSink }
func (*AlterSink) kind() commandKind  { return kindAlterSink }
func (*RemoveSink) kind() commandKind { return kindRemoveSink }

func (c *AddSink) encode(e *encoder) {
	putSink(e, &c.Sink)
	putSettings(e, &c.Sink)
}

func (c *AlterSink) encode(e *encoder) {
	e.string(c.Name)
	putOptional(e, c.Required, func(e *encoder, v *bool) { e.bool(*v) })
	putOptional(e, c.Paused, func(e *encoder, v *bool) { e.bool(*v) })
	putOptional(e, c.Config, (*encoder).text)
}

func (c *RemoveSink) encode(e *encoder) { e.string(c.Name) }

func decodeAddSink(d *decoder) *AddSink {
	c := &AddSink{Sink: sink(d)}
	settings(d).put(&c.Sink)
	return c
}

func decodeAlterSink(d *decoder) *AlterSink {
	return &AlterSink{
		Name: d.string(space.MaxNameBytes), Required: optional(d, (*decoder).bool), Paused: optional(d, (*decoder).bool),
		Config: optional(d, func(d *decoder) string { return d.string(MaxSinkConfigBytes) }),
	}
}

// sinkSettings are what a sink has beside its space.Sink.
type sinkSettings struct {
	id                   space.SinkID
	kind, spaces, config string
	paused               bool
}

func (x sinkSettings) put(s *Sink) {
	s.Kind, s.Spaces, s.Config, s.Paused = x.kind, x.spaces, x.config, x.paused
}

func putSettings(e *encoder, s *Sink) {
	e.uint(uint64(s.ID))
	e.string(s.Kind)
	e.string(s.Spaces)
	e.string(s.Config)
	e.bool(s.Paused)
}

func settings(d *decoder) sinkSettings {
	return sinkSettings{
		id:     space.SinkID(d.uint(uint64(^space.SinkID(0)))),
		kind:   d.string(space.MaxNameBytes),
		spaces: d.string(maxSinkSpaces),
		config: d.string(MaxSinkConfigBytes),
		paused: d.bool(),
	}
}

// putAllSettings writes the settings of those sinks that have any.
func putAllSettings(e *encoder, sinks []Sink) {
	putList(e, slices.DeleteFunc(slices.Clone(sinks), func(s Sink) bool { return s == Sink{Sink: s.Sink} }), putSettings)
}

// allSettings reads what putAllSettings wrote into the sinks.
func allSettings(d *decoder, sinks []Sink) {
	for _, x := range list(d, space.MaxSinks, settings) {
		for i := range sinks {
			if sinks[i].ID == x.id {
				x.put(&sinks[i])
			}
		}
	}
}

func (s *Sink) check() string {
	switch {
	case s.Name == "" || len(s.Name) > space.MaxNameBytes || strings.ContainsAny(s.Name, " ,\t\n"):
		return "the name of a sink has 1 to 255 bytes without blanks and commas"
	case s.Kind == "" || len(s.Kind) > space.MaxNameBytes:
		return "a sink has a kind"
	case len(s.Spaces) > maxSinkSpaces:
		return "too many spaces are named"
	case len(s.Config) > MaxSinkConfigBytes:
		return "the settings are too long"
	}
	return ""
}

func (d *draft) sinkAt(name string) int {
	return slices.IndexFunc(d.Sinks, func(s Sink) bool { return s.Name == name })
}

func (c *AddSink) apply(d *draft) Reply {
	s := c.Sink
	if wrong := s.check(); wrong != "" {
		return refuse(CodeInvalid, "%s", wrong)
	}
	if i := d.sinkAt(s.Name); i >= 0 {
		if s.ID = d.Sinks[i].ID; s == d.Sinks[i] {
			return Reply{Sink: s.ID}
		}
		return refuse(CodeSinkConflict, "%q", s.Name)
	}
	if len(d.Sinks) == space.MaxSinks {
		return refuse(CodeLimit, "%d sinks", space.MaxSinks)
	}
	if d.LastSink == ^space.SinkID(0) {
		return refuse(CodeLimit, "all identities of sinks have been given out")
	}
	d.LastSink++
	s.ID = d.LastSink
	d.Sinks = append(slices.Clone(d.Sinks), s)
	d.changed = true
	return Reply{Sink: s.ID}
}

func (c *AlterSink) apply(d *draft) Reply {
	i := d.sinkAt(c.Name)
	if i < 0 || d.Sinks[i].Kind == "" {
		return refuse(CodeNoSink, "%q", c.Name)
	}
	s := d.Sinks[i]
	if c.Required != nil {
		s.Required = *c.Required
	}
	if c.Paused != nil {
		s.Paused = *c.Paused
	}
	if c.Config != nil {
		s.Config = *c.Config
	}
	if wrong := s.check(); wrong != "" {
		return refuse(CodeInvalid, "%s", wrong)
	}
	if s != d.Sinks[i] {
		d.Sinks = slices.Clone(d.Sinks)
		d.Sinks[i] = s
		d.changed = true
	}
	return Reply{Sink: s.ID}
}

func (c *RemoveSink) apply(d *draft) Reply {
	i := d.sinkAt(c.Name)
	if i < 0 || d.Sinks[i].Kind == "" {
		return refuse(CodeNoSink, "%q", c.Name)
	}
	id := d.Sinks[i].ID
	d.Sinks = slices.Delete(slices.Clone(d.Sinks), i, i+1)
	d.changed = true
	return Reply{Sink: id}
}
