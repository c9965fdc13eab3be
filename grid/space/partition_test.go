package space

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	p := New(3, History{1})
	def := Definition{ID: 1, Name: "default"}
	run := func(now Time, c Command) Reply {
		t.Helper()
		b := c.Append(nil)
		r, err := DecodeReply(p.ApplyBytes(now, b))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(0, DefineCommand(&def)); r.Code != OK {
		t.Fatal(r)
	}
	r := run(1, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: []byte("a"), Value: []byte("1"), Lease: time.Second}}})
	if r.Code != OK || r.Results[0].Version != 2 {
		t.Fatalf("%+v", r)
	}
	e, code := p.Get(1, []byte("a"))
	t.Log(e, code, p.Status())
	c := Command{History: History{1}, Session: 9, Sequence: 1, Acked: 1, Deadline: 100, Ops: []Op{{Code: OpTake, Space: 1, Key: []byte("a"), Flags: FlagReturn}}}
	r = run(2, c)
	t.Logf("%+v", r)
	t.Logf("%+v", run(3, c))
	d := p.Image().Digest()
	t.Logf("%+v", d)
}
