package space_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// A digest command changes nothing that a tick at the same time would not, and is
// seen by whoever cuts right after it and by nobody later.
func TestDigestCommandOnlyMarks(t *testing.T) {
	p := newPartition(t)
	write := command(put("k", "v"))
	p.Apply(1, &write)
	before := p.Image().Digest()
	if r := apply(t, p, 1, space.DigestCommand(7)); r.Code != space.OK {
		t.Fatal(r.Code)
	}
	if p.Marked() != 7 {
		t.Errorf("the mark is %d", p.Marked())
	}
	if p.Image().Digest() != before {
		t.Error("the state has changed")
	}
	if r := apply(t, p, 1, space.DigestCommand(0)); r.Code != space.CodeInvalid || p.Marked() != 0 {
		t.Errorf("no mark is answered %v", r.Code)
	}
	for name, next := range map[string]func(){
		"a command":        func() { p.Apply(2, &write) },
		"a damaged one":    func() { p.ApplyBytes(2, []byte{1}) },
		"a foreign client": func() { p.Apply(2, &space.Command{Session: 1, Sequence: 1, Acked: 1, Deadline: 9}) },
	} {
		apply(t, p, 2, space.DigestCommand(8))
		if next(); p.Marked() != 0 {
			t.Errorf("the mark outlives %s", name)
		}
	}
	client := space.DigestCommand(9)
	client.Session, client.Sequence, client.Acked, client.Deadline, client.History = 1, 1, 1, 1000, testHistory
	if r := apply(t, p, 3, client); r.Code != space.CodeInvalid || p.Marked() != 0 {
		t.Errorf("a client marks: %v", r.Code)
	}
}

// busyCommand returns the i-th of commands that touch every table: kept answers,
// claims and their ends, waiting takes, prepared transactions and outcomes.
func busyCommand(i int) space.Command {
	key := fmt.Appendf(nil, "k%d", i/9%97)
	c := session(uint64(i+1), uint64(max(1, i-500)), space.Time(time.Hour))
	txn := space.TxnID{Session: 1, Number: uint64(i/9 + 1)}
	switch i % 9 {
	case 0:
		c.Ops = []space.Op{{Code: space.OpWrite, Space: 1, Key: key, Value: fmt.Append(nil, i)}}
	case 1:
		c.Ops = []space.Op{{Code: space.OpClaim, Space: 1, Key: key, Lease: time.Duration(i % 4000)}}
	case 2:
		c.Ops = []space.Op{{Code: space.OpTake, Space: 1, Key: fmt.Appendf(nil, "w%d", i%450), Wait: time.Duration(4000)}}
	case 3:
		c.Ops = []space.Op{{Code: space.OpWrite, Space: 1, Key: fmt.Appendf(nil, "w%d", (i*7)%450), Value: key}}
	case 4:
		c.Ops = []space.Op{{Code: space.OpPrepare, Txn: txn, Target: uint64(time.Hour)}, {Code: space.OpWrite, Space: 1, Key: fmt.Appendf(nil, "t%d", i/9%300), Value: key}}
	case 5:
		c.Ops = []space.Op{{Code: space.OpDecide, Txn: txn, Flags: space.FlagCommit, Target: uint64(i + 3000), Value: space.AppendPartitions(nil, []space.PartitionID{3})}}
	case 6:
		done := space.TxnID{Session: 1, Number: txn.Number - min(txn.Number-1, 30)}
		c.Ops = []space.Op{{Code: space.OpFinish, Txn: done, Flags: space.FlagCommit}}
	case 7:
		done := space.TxnID{Session: 1, Number: txn.Number - min(txn.Number-1, 60)}
		c.Ops = []space.Op{{Code: space.OpDecide, Txn: done, Flags: space.FlagSettled | space.FlagCommit, Lease: 1000}}
	case 8:
		return space.TickCommand()
	}
	return c
}

// What an image holds is what the partition held when it was cut, however it goes
// on beside those who read the image, and the same as what a restored export of it
// holds.
func TestImageStaysBesideApply(t *testing.T) {
	p := newPartition(t)
	n := 0
	busy := func(commands int) {
		for range commands {
			c := busyCommand(n)
			n++
			p.Apply(space.Time(n), &c)
		}
	}
	busy(20_000)
	st := p.Status()
	if st.Claims == 0 || st.Waiting == 0 || st.Prepared == 0 || st.Outcomes == 0 || st.Answers == 0 {
		t.Fatalf("a table is empty: %+v", st)
	}
	for range 5 {
		want := p.Image().Digest()
		img := p.Image()
		type seen struct {
			digest   space.Digest
			restored space.Digest
			err      error
		}
		done := make(chan seen)
		go func() {
			var s seen
			s.digest = img.Digest()
			var b bytes.Buffer
			if s.err = img.Export(&b); s.err == nil {
				var q *space.Partition
				if q, s.err = space.Restore(&b); s.err == nil {
					s.restored = q.Image().Digest()
				}
			}
			done <- s
		}()
		busy(3_000)
		s := <-done
		if s.err != nil || s.digest != want || s.restored != want {
			t.Fatalf("cut: %x, read: %x, restored: %x, %v", want.State, s.digest.State, s.restored.State, s.err)
		}
		busy(100)
		if p.Image().Digest() == want {
			t.Fatal("the partition has not gone on")
		}
	}
}
