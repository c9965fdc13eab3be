package space_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// TestALargeAnswerIsKept: the answer to a take of the largest value arrives, and
// arrives again.
func TestALargeAnswerIsKept(t *testing.T) {
	p := newPartition(t)
	value := bytes.Repeat([]byte("x"), space.MaxValueBytes)
	write := space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Value: value}
	apply(t, p, 0, command(write))
	take := session(1, 1, 1000, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 1, Key: []byte("k")})
	for i := range 2 {
		r := apply(t, p, 0, take)
		if r.Code != space.OK || len(r.Results) != 1 || len(r.Results[0].Entries) != 1 || !bytes.Equal(r.Results[0].Entries[0].Value, value) {
			t.Fatalf("sending %d: %v, %d results", i+1, r.Code, len(r.Results))
		}
	}
}

// TestAReplyIsBounded, whatever a small command asks for: it is computed and kept
// on every replica.
func TestAReplyIsBounded(t *testing.T) {
	p := newPartition(t)
	value := bytes.Repeat([]byte("x"), space.MaxValueBytes)
	apply(t, p, 0, command(space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Value: value}))
	c := session(1, 1, 1000)
	c.Independent = true
	for range 128 {
		c.Ops = append(c.Ops, space.Op{Code: space.OpRead, Space: 1, Key: []byte("k")})
	}
	c.Ops = append(c.Ops, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 1, Key: []byte("k")})
	if reply := p.ApplyBytes(0, c.Append(nil)); len(reply) > 6<<20 {
		t.Fatalf("a command of %d bytes has a reply of %d", len(c.Append(nil)), len(reply))
	}
	r := apply(t, p, 0, c)
	if r.Results[0].Code != space.OK || r.Results[127].Code != space.CodeTooLarge || r.Results[128].Code != space.CodeTooLarge {
		t.Fatalf("%v, %v, %v", r.Results[0].Code, r.Results[127].Code, r.Results[128].Code)
	}
	if _, code := p.Get(1, []byte("k")); code != space.OK {
		t.Fatal("an entry was taken that could not be returned")
	}
}

// TestSessionsEnd: a client cannot keep its answers, and others out, for good.
func TestSessionsEnd(t *testing.T) {
	p := newPartition(t)
	read := space.Op{Code: space.OpRespond}
	c := session(1, 1, math.MaxInt64, read)
	if r := apply(t, p, 0, c); r.Code != space.CodeLate {
		t.Fatalf("a deadline at the end of time is answered %v", r.Code)
	}
	for i := range 1 << 15 {
		c := session(1, 1, space.Time(time.Hour), read)
		c.Session = space.SessionID(i + 1)
		apply(t, p, 0, c)
	}
	now := space.Time(2 * time.Hour)
	apply(t, p, now, space.TickCommand())
	c = session(1, 1, now.Add(time.Second), read)
	if r := apply(t, p, now, c); r.Code != space.OK {
		t.Fatalf("after the others' deadlines a new client is answered %v", r.Code)
	}
}

// TestPlacesForAnswersAreBounded: sequence numbers far apart do not make the
// table of answers large.
func TestPlacesForAnswersAreBounded(t *testing.T) {
	p := newPartition(t)
	ok := 0
	for i := range 64 {
		c := session(16384, 1, 1000, space.Op{Code: space.OpRespond})
		c.Session = space.SessionID(i + 1)
		if apply(t, p, 0, c).Code == space.OK {
			ok++
		}
	}
	if ok > 4 {
		t.Fatalf("%d sessions hold 16384 places each", ok)
	}
	// Those that settle go on.
	c := session(16385, 16385, 1000, space.Op{Code: space.OpRespond})
	if r := apply(t, p, 0, c); r.Code != space.OK {
		t.Fatal(r.Code)
	}
}
