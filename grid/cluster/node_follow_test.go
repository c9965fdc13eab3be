package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// mirror rebuilds what a space holds from a Follow, and notes what must not
// happen on the way.
type mirror struct {
	mu      sync.Mutex
	entries map[string]string
	seqs    map[space.PartitionID]space.Seq
	ready   int
	resets  int
	faults  []string
	// gapless: the space is the only one that changes, so no number may be left
	// out.
	gapless bool
}

func newMirror() *mirror {
	return &mirror{entries: map[string]string{}, seqs: map[space.PartitionID]space.Seq{}}
}

func (m *mirror) item(count int) func(FollowItem) error {
	return func(it FollowItem) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch it.Kind {
		case FollowReset:
			m.resets++
			for k := range m.entries {
				if space.PartitionOf([]byte(k), count) == it.Partition {
					delete(m.entries, k)
				}
			}
		case FollowEntries:
			for _, e := range it.Entries {
				m.entries[string(e.Key)] = string(e.Value)
			}
		case FollowReady:
			m.ready++
			m.seqs[it.Partition] = it.Position.Seq
		case FollowChanges:
			for _, c := range it.Changes {
				if c.Seq <= m.seqs[it.Partition] || m.gapless && c.Seq != m.seqs[it.Partition]+1 {
					m.faults = append(m.faults, fmt.Sprintf("partition %d: change %d after %d", it.Partition, c.Seq, m.seqs[it.Partition]))
				}
				m.seqs[it.Partition] = c.Seq
				switch c.Op {
				case space.Written, space.Updated, space.Released:
					m.entries[string(c.Key)] = string(c.Value)
				case space.Removed:
					delete(m.entries, string(c.Key))
				}
			}
			m.seqs[it.Partition] = it.Position.Seq
		}
		return nil
	}
}

func (m *mirror) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[key]
}

func everywhere(r *Router, id space.ID) FollowRequest {
	req := FollowRequest{Space: id}
	for p := range r.State().Table {
		req.From = append(req.From, FollowFrom{Partition: space.PartitionID(p)})
	}
	return req
}

// A follower gets what is there and then every change, and its stream ends with
// its context.
func TestFollowShowsContentAndChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 8}).Router()
		id := defaultSpace(t, r)
		for i := range 20 {
			write(t, r, id, fmt.Sprint("k", i), "old")
		}
		m := newMirror()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Follow(ctx, everywhere(r, id), m.item(8)) }()
		synctest.Wait()
		if m.ready != 8 || m.get("k7") != "old" {
			t.Fatalf("%d partitions are ready, k7 is %q", m.ready, m.get("k7"))
		}
		write(t, r, id, "k7", "new")
		one(t, r, "k8", space.Op{Code: space.OpTake, Space: id, Key: []byte("k8")})
		synctest.Wait()
		if m.get("k7") != "new" || m.get("k8") != "" || len(m.faults) > 0 {
			t.Errorf("k7 is %q, k8 is %q, faults %v", m.get("k7"), m.get("k8"), m.faults)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// An entry whose lease ends is gone for readers at once and for followers soon.
func TestLeasesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 8}).Router()
		id := defaultSpace(t, r)
		for _, key := range []string{"read", "watched"} {
			one(t, r, key, space.Op{Code: space.OpWrite, Space: id, Key: []byte(key), Value: []byte("v"), Lease: time.Minute})
		}
		m := newMirror()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Follow(ctx, everywhere(r, id), m.item(8)) })
		time.Sleep(time.Minute - time.Millisecond)
		if _, ok := read(t, r, id, "read"); !ok {
			t.Error("the entry is gone before its lease has ended")
		}
		time.Sleep(time.Millisecond)
		if _, ok := read(t, r, id, "read"); ok {
			t.Error("the entry is there though its lease has ended")
		}
		time.Sleep(2 * dutyEvery)
		synctest.Wait()
		if v := m.get("watched"); v != "" {
			t.Error("the follower does not know that the lease has ended")
		}
		cancel()
		wg.Wait()
	})
}

// counter is an Invoker that adds one to the entry of its key.
type counter struct {
	mu   sync.Mutex
	runs int
	// between is run after the read, where it could change what was read.
	between func()
}

func (c *counter) Invoke(_ context.Context, call *Invocation, v View) ([]space.Op, error) {
	c.mu.Lock()
	c.runs++
	c.mu.Unlock()
	if call.Handler != "add" {
		return nil, ErrUnknownHandler
	}
	if len(call.Body) > 0 {
		return nil, errors.New("the body is not empty")
	}
	def := v.Definition(DefaultSpace)
	e, _ := v.Get(def.ID, call.Key)
	if c.between != nil {
		c.between()
	}
	value := append(append([]byte{}, e.Value...), 'x')
	return []space.Op{
		{Code: space.OpCheck, Space: def.ID, Key: call.Key, Match: e.Version},
		{Code: space.OpWrite, Space: def.ID, Key: call.Key, Value: value},
		{Code: space.OpRespond, Value: value},
	}, nil
}

// A handler whose reads have changed is run again; one that refuses has no
// effect; one that nobody knows is said to be unknown.
func TestInvokeRunsUntilItsReadsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		r := alone(t, NodeConfig{Partitions: 8, Handlers: c}).Router()
		id := defaultSpace(t, r)
		interrupted := 3
		c.between = func() {
			if interrupted--; interrupted >= 0 {
				write(t, r, id, "n", "y")
			}
		}
		reply, err := r.Invoke(t.Context(), "unit", "add", at(r, "n"), []byte("n"), nil)
		if err != nil || reply.Err() != nil {
			t.Fatal(err, reply.Err())
		}
		if got := string(reply.Results[2].Entries[0].Value); got != "yx" || c.runs != 4 {
			t.Errorf("it responded %q after %d runs", got, c.runs)
		}
		var refused *HandlerError
		if _, err := r.Invoke(t.Context(), "unit", "add", at(r, "n"), []byte("n"), []byte("body")); !errors.As(err, &refused) {
			t.Errorf("a refusal came as %v", err)
		}
		if _, err := r.Invoke(t.Context(), "unit", "sub", at(r, "n"), []byte("n"), nil); !errors.Is(err, ErrUnknownHandler) {
			t.Errorf("an unknown handler came as %v", err)
		}
		if v, _ := read(t, r, id, "n"); v != "yx" {
			t.Errorf("the entry is %q", v)
		}
	})
}

// What only the grid itself may ask of a partition or of the control group is
// refused from outside, and so is what is malformed.
func TestHostileCommandsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 8})
		greetings, err := n.Hello(t.Context(), 1)
		if err != nil || len(greetings) != 8 {
			t.Fatal(greetings, err)
		}
		commands := map[string]space.Command{
			"epoch": space.EpochCommand(1), "tick": space.TickCommand(), "trim": space.TrimCommand(space.Trim{Floor: 9}),
			"drop": space.DropCommand(1), "sink": space.SinkCommand(space.Sink{ID: 9, Name: "x"}),
			"no session": {Ops: []space.Op{{Code: space.OpWrite, Space: 1, Key: []byte("k")}}},
			"no ops":     {Session: 1, Sequence: 1, History: greetings[0].History},
		}
		for name, c := range commands {
			for _, session := range []space.SessionID{0, 7} {
				if session != 0 {
					c.Session, c.Sequence, c.Acked, c.History, c.Deadline = session, 1, 1, greetings[0].History, greetings[0].Clock.Add(time.Minute)
				}
				if name == "no session" && session != 0 {
					continue
				}
				out := n.Submit(t.Context(), 1, []Submission{{Partition: 0, Command: c.Append(nil)}})[0]
				if !errors.Is(out.Err, space.ErrInvalid) {
					t.Errorf("%s, session %d: %v", name, session, out.Err)
				}
			}
		}
		for _, b := range [][]byte{nil, {1}, {9, 9, 9}, []byte("GET / HTTP/1.1")} {
			if out := n.Submit(t.Context(), 1, []Submission{{Command: b}})[0]; out.Err == nil {
				t.Errorf("%q was taken", b)
			}
		}
		for _, c := range []Command{&Form{}, &SetReplicas{Group: 1}, &BeginBootstrap{Group: 1}, &EndBootstrap{Group: 1}, &SetVoters{}, &AdmitMember{}, &MendReplica{Group: 1}} {
			if reply, err := n.Control(t.Context(), c); err != nil || !errors.Is(reply.Err(), ErrInvalid) {
				t.Errorf("%T: %v, %v", c, reply, err)
			}
		}
		for _, what := range []string{"status", "members", "partitions", "table", "digest", "verify", "pump"} {
			if b, err := n.Inspect(t.Context(), what); err != nil || len(b) < 2 {
				t.Errorf("inspect %s: %s, %v", what, b, err)
			}
		}
		if _, err := n.Inspect(t.Context(), "secrets"); !errors.Is(err, space.ErrInvalid) {
			t.Errorf("inspect secrets: %v", err)
		}
	})
}
