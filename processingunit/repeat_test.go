package processingunit_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// TestRepeatDoesNotSeeItsOwnEffect: a call whose answer was lost is sent again.
// Its handler now finds the seat sold, to nobody but this very call; the answer
// is the first one all the same. Without the log's word on it the buyer would be
// told that the seat is gone.
func TestRepeatDoesNotSeeItsOwnEffect(t *testing.T) {
	g, ctx := openGrid(t)
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seats.Write(ctx, seat{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := boxOffice().Deploy(ctx, g); err != nil {
		t.Fatal(err)
	}
	p := space.PartitionOf([]byte("1"), g.Partitions())
	group := g.Router().State().Table[p]
	greetings, err := g.Node().Hello(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	body, err := grid.Marshal(sell{Seat: "1", Buyer: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	call := cluster.Invocation{
		Partition: p, Unit: "tickets", Handler: "sell", Key: []byte("1"), Body: body,
		Session: 77, Sequence: 1, Acked: 1,
	}
	for _, x := range greetings {
		if x.Partition == p {
			call.History, call.Deadline = x.History, x.Clock.Add(time.Minute)
		}
	}
	first, err := g.Node().Invoke(ctx, group, call)
	if err != nil {
		t.Fatal(err)
	}
	call.Repeat = true
	again, err := g.Node().Invoke(ctx, group, call)
	if err != nil || !bytes.Equal(again, first) {
		t.Fatalf("first %x, then %x, %v", first, again, err)
	}
	// Another call is refused, by the log when it is a repeat, at once when not.
	call.Sequence = 2
	reply, err := g.Node().Invoke(ctx, group, call)
	if err != nil {
		t.Fatal(err)
	}
	r, err := space.DecodeReply(reply)
	if last := r.Results[len(r.Results)-1]; err != nil || last.Count != cluster.Refused {
		t.Fatalf("%+v, %v", r, err)
	}
	call.Sequence, call.Repeat = 3, false
	_, err = g.Node().Invoke(ctx, group, call)
	if _, ok := errors.AsType[*grid.HandlerError](err); !ok {
		t.Fatal(err)
	}
}
