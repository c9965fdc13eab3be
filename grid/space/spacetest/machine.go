package spacetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Machine is the front of a bare partition, without a log, a member or a network:
// what the suite says of it is true of the state machine alone.
type Machine struct {
	mu       sync.Mutex
	p        *space.Partition
	ids      map[string]space.ID
	began    time.Time
	sequence uint64
}

// NewMachine returns the front of an empty partition whose clock runs from now.
func NewMachine() *Machine {
	m := &Machine{p: space.New(1, history), ids: map[string]space.ID{}, began: time.Now()}
	epoch := space.EpochCommand(0)
	m.p.Apply(0, &epoch)
	return m
}

func (m *Machine) now() space.Time { return space.Time(0).Add(time.Since(m.began)) }

// Define creates a space.
func (m *Machine) Define(_ context.Context, def space.Definition, deadLetter string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	def.ID, def.DeadLetter = space.ID(len(m.ids)+1), m.ids[deadLetter]
	if err := def.Validate(); err != nil {
		return err
	}
	c := space.DefineCommand(&def)
	reply, err := space.DecodeReply(m.p.Apply(m.now(), &c))
	if err != nil {
		return err
	}
	m.ids[def.Name] = def.ID
	return reply.Err()
}

// Do carries a request out; one that waits is asked about again until it is
// answered.
func (m *Machine) Do(ctx context.Context, r Request) (Response, error) {
	c, err := m.command(&r)
	if err != nil {
		return Response{}, err
	}
	return m.send(ctx, c)
}

// Repeat sends the command of a request twice.
func (m *Machine) Repeat(ctx context.Context, r Request) (first, second Response, err error) {
	c, err := m.command(&r)
	if err != nil {
		return first, second, err
	}
	if first, err = m.send(ctx, c); err != nil {
		return first, second, err
	}
	second, err = m.send(ctx, c)
	return first, second, err
}

func (m *Machine) command(r *Request) (*space.Command, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.ids[r.Space]
	if !ok {
		id = space.ID(len(m.ids) + 1)
	}
	o, err := r.Op(id)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(m.p.Definitions(), func(d space.Definition) bool { return d.ID == id }); i >= 0 && r.Key == "" {
		if err := m.p.Definitions()[i].CheckFilter(o.Template, o.Predicate); err != nil {
			return nil, err
		}
	}
	m.sequence++
	return &space.Command{
		History: history, Session: 1, Sequence: m.sequence, Acked: m.sequence - min(m.sequence, 64), Deadline: m.now().Add(time.Minute), Ops: []space.Op{o},
	}, nil
}

func (m *Machine) send(ctx context.Context, c *space.Command) (Response, error) {
	for {
		m.mu.Lock()
		tick := space.TickCommand()
		m.p.Apply(m.now(), &tick)
		reply, err := space.DecodeReply(m.p.Apply(m.now(), c))
		m.mu.Unlock()
		switch {
		case err != nil:
			return Response{}, err
		case reply.Code != space.CodeWaiting:
			return responseOf(&reply)
		}
		select {
		case <-ctx.Done():
			return Response{}, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func responseOf(reply *space.Reply) (Response, error) {
	if err := reply.Err(); err != nil {
		return Response{}, err
	}
	x := &reply.Results[0]
	r := Response{Version: x.Version}
	for i := range x.Entries {
		r.Entries = append(r.Entries, EntryOf(&x.Entries[i]))
	}
	return r, nil
}
