package space_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// checkMatch asks that nothing has come to match since a change.
func checkMatch(after space.Seq, m map[string]any) space.Op {
	return space.Op{Code: space.OpCheckMatch, Space: 1, Match: after, Template: encode(m)}
}

// TestChecksOfOneCommandAreBounded: each goes through the changes since it was
// read, so one command has no room for any number of them.
func TestChecksOfOneCommandAreBounded(t *testing.T) {
	p := meeting(t, space.Definition{})
	from := p.Status().Seq
	for i := range 16 {
		var ops []space.Op
		for j := range 1000 {
			ops = append(ops, entry(fmt.Sprint(i*1000+j), map[string]any{"v": j}))
		}
		apply(t, p, 1, command(ops...))
	}
	checks := func(n int) space.Command {
		var c space.Command
		for i := range n {
			c.Ops = append(c.Ops, checkMatch(from, map[string]any{"other": i}))
		}
		return c
	}
	if r := apply(t, p, 1, checks(8)); r.Code != space.OK {
		t.Error("a few checks:", r.Err())
	}
	begun := time.Now()
	if r := apply(t, p, 1, checks(space.MaxOps)); r.Code == space.OK || r.Results[r.Failed].Code != space.CodeTooLarge {
		t.Error("many checks:", r.Err())
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("they took %v", d)
	}
	if r := apply(t, p, 1, space.Command{Ops: []space.Op{checkMatch(p.Status().Seq, map[string]any{"v": 1})}}); r.Code != space.OK {
		t.Error("the next command:", r.Err())
	}
}

// TestGuardsAreBounded: each write is compared with all of them.
func TestGuardsAreBounded(t *testing.T) {
	p := meeting(t, space.Definition{})
	seq := p.Status().Seq
	prepare := func(n uint64, checks int) space.Reply {
		ops := []space.Op{{Code: space.OpPrepare, Txn: txn(n), Home: 3, Target: 1000}}
		for range checks {
			ops = append(ops, space.Op{Code: space.OpCheckMatch, Space: 1, Match: seq})
		}
		return apply(t, p, 1, session(n, 1, 1000, ops...))
	}
	for n := range uint64(2) {
		if r := prepare(n+1, 255); r.Code != space.OK {
			t.Fatal(r.Err())
		}
	}
	if r := prepare(3, 255); r.Code == space.OK || r.Results[r.Failed].Code != space.CodeFull {
		t.Fatal("a third:", r.Err())
	}
	for n := range uint64(2) {
		apply(t, p, 1, command(space.Op{Code: space.OpFinish, Txn: txn(n + 1)}))
	}
	if r := prepare(4, 255); r.Code != space.OK {
		t.Fatal("when the others have finished:", r.Err())
	}
}
