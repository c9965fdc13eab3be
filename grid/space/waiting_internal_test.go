package space

import (
	"bytes"
	"testing"
)

// FuzzRestoreWaits: the table of waiting commands that an export holds is refused
// unless it agrees with the kept answers, and what is taken reads back the same.
func FuzzRestoreWaits(f *testing.F) {
	p := New(1, History{1})
	define := DefineCommand(&Definition{ID: 1, Name: "s"})
	p.Apply(0, &define)
	for i, o := range []Op{
		{Code: OpTake, Key: []byte("k")},
		{Code: OpTakeMatch, Template: []byte{0x81, 0xa1, 'a', 1}, Limit: 2},
		{Code: OpClaimMatch, Lease: 5},
	} {
		o.Space, o.Wait = 1, 50
		c := Command{History: History{1}, Session: SessionID(i + 1), Sequence: 1, Acked: 1, Deadline: 100, Ops: []Op{o}}
		if !Waits(p.Apply(1, &c)) {
			f.Fatalf("operation %d does not wait", i)
		}
	}
	var answers []byte
	table := p.sessions.freeze()
	table.each(func(appendTo func([]byte) []byte) { answers = appendTo(answers) })
	encode := func(p *Partition) []byte {
		w := p.waits.freeze()
		return w.encode()
	}
	restore := func(b []byte) (*Partition, error) {
		q := New(1, History{1})
		d := decoder{b: answers}
		q.sessions = d.sessions()
		err := q.restoreWaits(b)
		return q, err
	}
	whole := encode(p)
	if q, err := restore(whole); err != nil || !bytes.Equal(encode(q), whole) {
		f.Fatalf("what was exported does not read back: %v", err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := restore(b)
		if err != nil {
			return
		}
		again := encode(q)
		r, err := restore(again)
		if err != nil || !bytes.Equal(encode(r), again) {
			t.Fatalf("%v: %x becomes %x", err, b, again)
		}
		// They can all be served and ended.
		c := Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: []byte("k")}}}
		q.setSpace(1, newEntries(Definition{ID: 1, Name: "s"}, q.seed))
		q.Apply(2, &c)
		tick := TickCommand()
		q.Apply(1000, &tick)
		if n := q.waits.byPlace.len(); n != 0 {
			t.Fatalf("%d wait for good", n)
		}
	})
}
