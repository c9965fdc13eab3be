package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// afar opens a grid of one member and returns a router that reaches it over
// connections only.
func afar(t *testing.T, partitions int) *Router {
	t.Helper()
	net := wire.NewNetwork()
	n := alone(t, NodeConfig{Partitions: partitions, Listen: "a:1", Network: Network{
		Listen: net.Listen, Dial: net.Dialer("a"), Gossip: NewMemNet(1).Transport("a"),
	}})
	topology := NewRemoteTopology(net.Dialer("x"), []string{n.Addr()})
	r := NewRouter(RouterConfig{Topology: topology, Dial: net.Dialer("x")})
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), topology.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// Takes whose answers together are longer than a frame all come back with what
// they took, and each takes once.
func TestAnswersTooLongForAFrameComeInParts(t *testing.T) {
	r := afar(t, 1)
	id := defaultSpace(t, r)
	value := bytes.Repeat([]byte("x"), 900<<10)
	var writes, takes []*Call
	for i := range 30 { // 27 MB: the writes take several requests, the takes several answers
		key := fmt.Append(nil, "k", i)
		writes = append(writes, &Call{Ops: []space.Op{{Code: space.OpWrite, Space: id, Key: key, Value: value}}})
		takes = append(takes, &Call{Ops: []space.Op{{Code: space.OpTake, Flags: space.FlagReturn, Space: id, Key: key}}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r.Do(ctx, writes)
	r.Do(ctx, takes)
	for i := range 30 {
		if err := errors.Join(writes[i].Err, writes[i].Reply.Err(), takes[i].Err, takes[i].Reply.Err()); err != nil {
			t.Fatalf("k%d: %v", i, err)
		}
		if es := takes[i].Reply.Results[0].Entries; len(es) != 1 || !bytes.Equal(es[0].Value, value) {
			t.Errorf("k%d was taken without its value", i)
		}
		if _, ok := read(t, r, id, fmt.Sprint("k", i)); ok {
			t.Errorf("k%d was taken and is still there", i)
		}
	}
}

// More calls than one request may carry are sent in several.
func TestManyCallsAreSentInLots(t *testing.T) {
	r := afar(t, 1)
	id := defaultSpace(t, r)
	calls := make([]*Call, maxSubmissions+10)
	for i := range calls {
		calls[i] = &Call{Ops: []space.Op{{Code: space.OpWrite, Space: id, Key: fmt.Append(nil, "k", i), Value: []byte("x")}}}
	}
	r.Do(t.Context(), calls)
	for i, c := range calls {
		if c.Err != nil || c.Reply.Err() != nil {
			t.Fatalf("call %d: %v, %v", i, c.Err, c.Reply.Err())
		}
	}
}

// A command or an invocation over its limit is refused at once, by its type, and
// costs those beside it nothing.
func TestTooLargeIsSaidBeforeSending(t *testing.T) {
	r := afar(t, 1)
	id := defaultSpace(t, r)
	write := func(key string, n int) *Call {
		c := &Call{}
		for range n {
			c.Ops = append(c.Ops, space.Op{Code: space.OpWrite, Space: id, Key: []byte(key), Value: make([]byte, space.MaxValueBytes)})
		}
		return c
	}
	calls := []*Call{write("a", 1), write("b", 25), write("c", 1)}
	start := time.Now()
	r.Do(t.Context(), calls)
	if took := time.Since(start); took > DefaultTimeout/2 {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(calls[1].Err, space.ErrTooLarge) {
		t.Errorf("a command of 25 MB: %v", calls[1].Err)
	}
	if err := errors.Join(calls[0].Err, calls[0].Reply.Err(), calls[2].Err, calls[2].Reply.Err()); err != nil {
		t.Errorf("those beside it: %v", err)
	}
	_, err := r.Invoke(t.Context(), "unit", "handler", 0, []byte("k"), make([]byte, space.MaxValueBytes+1))
	if !errors.Is(err, space.ErrTooLarge) {
		t.Errorf("an invocation with too large a body: %v", err)
	}
	svc, err := r.Member(t.Context(), r.State().Members[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if out := svc.Submit(t.Context(), 1, []Submission{{Command: make([]byte, maxRequestBytes)}})[0]; !errors.Is(out.Err, space.ErrTooLarge) {
		t.Errorf("a request above a frame: %v", out.Err)
	}
}

// What a member carried out and could not answer is unknown to the asker, never
// failed.
func TestAnUnknownErrorLeavesTheOutcomeOpen(t *testing.T) {
	for _, code := range []uint16{0, 10, 999} {
		err := fromWire(&wire.Error{Code: code, Message: "frame above the limit"})
		if !errors.Is(err, ErrIndeterminate) || !strings.Contains(err.Error(), "frame above the limit") {
			t.Errorf("code %d: %v", code, err)
		}
	}
}

// Outcomes that fit no frame are marked, one by one, and what is sent fits.
func TestOutcomesAreBounded(t *testing.T) {
	long := bytes.Repeat([]byte("x"), maxRequestBytes)
	outs := []Outcome{{Reply: long}, {Reply: []byte("a")}, {Err: errors.New(string(long))}, {Err: ErrOverloaded}}
	for range 24 {
		outs = append(outs, Outcome{Reply: long[:1<<20]})
	}
	for len(outs) < maxSubmissions {
		outs = append(outs, Outcome{Reply: []byte("b")})
	}
	b := appendOutcomes(nil, outs)
	if len(b)+64 > maxRequestBytes {
		t.Fatalf("%d bytes", len(b))
	}
	got := make([]Outcome, len(outs))
	if err := parseOutcomes(b, got); err != nil {
		t.Fatal(err)
	}
	for i, cut := range map[int]bool{0: true, 1: false, 2: true, 3: false, 4: false, 27: true} {
		if errors.Is(got[i].Err, errCut) != cut {
			t.Errorf("outcome %d: %d bytes, %v", i, len(got[i].Reply), got[i].Err)
		}
	}
}

// outcomes is a Service that answers Submit by a script.
type outcomes struct {
	Service
	script [][]Outcome
}

func (s *outcomes) Submit(context.Context, GroupID, []Submission) []Outcome {
	outs := s.script[0]
	s.script = s.script[1:]
	return outs
}

// A refusal says nothing about an earlier sending that may have arrived: the
// call ends as unknown. So does one whose answer fits no frame even alone.
func TestARefusalAfterALostAnswerIsUnknown(t *testing.T) {
	r := NewRouter(RouterConfig{})
	refused := &space.Error{Code: space.CodeInvalid}
	for name, script := range map[string][][]Outcome{
		"refused": {{{Err: ErrIndeterminate}}, {{Err: refused}}},
		"cut":     {{{Err: errCut}}},
	} {
		c := &Call{}
		s := &outcomes{script: script}
		for range script {
			if _, err := r.attempt(t.Context(), 1, s, []*Call{c}); err != nil && len(s.script) == 0 {
				t.Errorf("%s: to be sent again: %v", name, err)
			}
		}
		if !errors.Is(c.Err, ErrIndeterminate) {
			t.Errorf("%s: %v", name, c.Err)
		}
	}
}

// onlyA is a Topology of one member, a, and one partition.
type onlyA struct{}

func (onlyA) State() *State {
	return &State{Table: []GroupID{1}, Groups: []Group{{ID: 1, Replicas: []Replica{{Member: "a"}}}}}
}

func (onlyA) Refresh(context.Context) error { return nil }
func (onlyA) Agree(context.Context) error   { return nil }

// narrow is a leading member whose answer has room for a few outcomes and is cut
// as a whole when more were asked for.
type narrow struct {
	Service
	room int
	lots []int // how many commands each Submit had
}

func (s *narrow) Hello(context.Context, GroupID) ([]Greeting, error) {
	return []Greeting{{History: space.History{1}}}, nil
}

func (s *narrow) Submit(_ context.Context, _ GroupID, subs []Submission) []Outcome {
	s.lots = append(s.lots, len(subs))
	outs := make([]Outcome, len(subs))
	for i := range outs {
		if outs[i].Err = errCut; len(subs) <= s.room {
			reply := space.Reply{Failed: -1}
			outs[i] = Outcome{Reply: reply.Append(nil)}
		}
	}
	return outs
}

// When an answer came back cut, less is asked for at once, without a pause; an
// answer that fits no frame even alone ends its call as unknown.
func TestLotsShrinkUntilTheAnswerFits(t *testing.T) {
	for room, want := range map[int]error{3: nil, 1: nil, 0: ErrIndeterminate} {
		synctest.Test(t, func(t *testing.T) {
			s := &narrow{room: room}
			r := NewRouter(RouterConfig{Topology: onlyA{}, Self: "a", Local: s})
			calls := make([]*Call, 16)
			for i := range calls {
				calls[i] = &Call{Ops: []space.Op{{Code: space.OpRead, Space: 1, Key: []byte("k")}}}
			}
			start := time.Now()
			r.Do(t.Context(), calls)
			for i, c := range calls {
				if !errors.Is(c.Err, want) {
					t.Errorf("room for %d: call %d: %v", room, i, c.Err)
				}
			}
			if took := time.Since(start); took != 0 || len(s.lots) > 2*len(calls) {
				t.Errorf("room for %d: it took %v and lots of %v", room, took, s.lots)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
