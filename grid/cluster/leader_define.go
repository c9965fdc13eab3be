package cluster

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// definitionWait is how long a command for a space that nobody here has heard
// of waits for the definition to arrive.
const definitionWait = time.Second

// told is what the partitions of a group have been told of the control state.
type told struct {
	spaces []space.Definition
	sinks  []Sink
	known  bool
}

// sameList reports whether two lists of the control state are the same one:
// commands that change a list replace it.
func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// define brings the definitions and sinks of the control state to the partitions
// that lack them, if there is anything new.
func (h *held) define(ctx context.Context, l *leadership) error {
	s := h.n.control.State()
	if l.told.known && sameList(l.told.spaces, s.Spaces) && sameList(l.told.sinks, s.Sinks) {
		return nil
	}
	var commands []systemCommand
	err := h.group.Inspect(ctx, func() {
		for _, p := range sortedPartitions(h.host.all()) {
			for _, c := range lacking(p.Partition, s) {
				commands = append(commands, systemCommand{p.ID(), c})
			}
		}
	})
	if err != nil {
		return err
	}
	if err := h.order(ctx, l, commands); err != nil {
		return err
	}
	l.told = told{spaces: s.Spaces, sinks: s.Sinks, known: true}
	return nil
}

// lacking returns the commands that bring a partition's definitions and sinks to
// what the control state says. Only the goroutine that applies may call it.
func lacking(p *space.Partition, s *State) []space.Command {
	var commands []space.Command
	have := map[space.ID][]byte{}
	for _, d := range p.Definitions() {
		have[d.ID] = definitionBytes(&d)
		// A partition may know a space that this member has not heard of yet; it
		// is dropped only if its number was given out and is no longer in use.
		if _, ok := s.SpaceByID(d.ID); !ok && d.ID <= s.LastSpace {
			commands = append(commands, space.DropCommand(d.ID))
		}
	}
	for i := range s.Spaces {
		if d := &s.Spaces[i]; !bytes.Equal(have[d.ID], definitionBytes(d)) {
			commands = append(commands, space.DefineCommand(d))
		}
	}
	sinks := p.Status().Sinks
	for _, k := range s.Sinks {
		if !slices.Contains(sinks, k.Sink) {
			commands = append(commands, space.SinkCommand(k.Sink))
		}
	}
	for _, k := range sinks {
		gone := k.ID <= s.LastSink && !slices.ContainsFunc(s.Sinks, func(x Sink) bool { return x.ID == k.ID })
		if gone {
			commands = append(commands, space.SinkCommand(space.Sink{ID: k.ID}))
		}
	}
	return commands
}

func definitionBytes(d *space.Definition) []byte { return space.DefineCommand(d).Ops[0].Value }

// acquaint makes a space known to a partition before a command that names it is
// proposed. It does nothing if the partition knows it, and returns when it is
// plain that there is no such space. If this member has not heard of the space
// yet, though somebody has, it fails with ErrUnavailable: the request may be
// repeated.
func (h *held) acquaint(ctx context.Context, l *leadership, p *carried, id space.ID) error {
	if _, code := p.Get(id, nil); id == 0 || code != space.CodeNoSpace {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, definitionWait)
	defer cancel()
	// Numbers are given out in order: a higher one means that this one has been
	// dropped, or that its definition is here.
	for {
		changed := h.n.states.heard()
		s := h.n.control.State()
		if def, ok := s.SpaceByID(id); ok {
			// A failure shows in the command that follows: it finds no space.
			_ = h.order(ctx, l, defining(p.Partition, s, def))
			return nil
		}
		if id <= s.LastSpace {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: this member has not heard of space %d yet", ErrUnavailable, id)
		}
	}
}

// defining returns the commands that make a space known to a partition, and before
// it the space that its dead letters go to: an entry whose last attempt fails
// would not find it otherwise, and stay.
func defining(p *space.Partition, s *State, def *space.Definition) (commands []systemCommand) {
	if dead, ok := s.SpaceByID(def.DeadLetter); ok {
		if _, code := p.Get(dead.ID, nil); code == space.CodeNoSpace {
			commands = append(commands, systemCommand{p.ID(), space.DefineCommand(dead)})
		}
	}
	return append(commands, systemCommand{p.ID(), space.DefineCommand(def)})
}

// acquaintAll does so for every space that the operations name.
func (h *held) acquaintAll(ctx context.Context, l *leadership, p *carried, ops []space.Op) error {
	last := space.ID(0)
	for i := range ops {
		if id := ops[i].Space; id != last {
			if err := h.acquaint(ctx, l, p, id); err != nil {
				return err
			}
			last = id
		}
	}
	return nil
}
