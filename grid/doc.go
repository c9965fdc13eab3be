// Package grid is what applications import: a replicated, partitioned, in-memory
// space of entries, either as a member inside the application's own process
// ([Open]) or from outside ([Dial]). Both give a [Grid], so that code written for
// one runs on the other.
//
//	g, err := grid.Open(ctx, grid.Config{}) // one member, in memory, no listener
//	if err != nil { … }
//	defer g.Close()
//
//	type Seat struct {
//		ID    string `grid:"id,key"`
//		Row   int    `grid:"row"`
//		Buyer string `grid:"buyer,index"`
//	}
//	seats, err := grid.OpenSpace[Seat](ctx, g, "seats")
//	_, err = seats.Write(ctx, Seat{ID: "A1", Row: 1})
//	seat, err := seats.Read(ctx, "A1")
//	_, err = seats.Change(ctx, "A1", grid.If("buyer = ''"), grid.Set("buyer", "ada"))
//	for seat, err := range seats.Query(ctx, grid.Where("row < ? and buyer = ''", 10)) { … }
//	rows, err := seats.Aggregate(ctx, nil, grid.GroupBy("row"), grid.Count())
//
// A reader meets [Grid], [Space] and [Entry] first, then [Mutation] and [If] for
// changes that are made where the entry is, [Batch] for many operations at once,
// [Watcher] for what changes, and [Handler] for code that runs beside the data.
//
// # Promises
//
// An operation that returned without an error has been agreed on by a majority of
// the partition's replicas, and is on their disks before it returns where the
// grid is durable. Reads are linearizable unless they ask for less. Every
// operation is repeated until its outcome is known or its context ends; a repeat
// never takes effect twice. What remains unknown is reported as
// [ErrIndeterminate], never as a failure.
//
// # What it does not do
//
// It does not hide which partition a key belongs to: operations on several
// partitions are not atomic together.
package grid
