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
// # Structs
//
// The tags of a struct type say how its values are stored, and with
// [OpenSpace] how their space is defined:
//
//	type Seat struct {
//		ID      string        `grid:"id,key"`
//		Section string        `grid:"section,index,index=place:1"`
//		Row     int           `grid:"row,index=place:2,ordered"`
//		Price   int           `grid:"price,ordered"`
//		Buyer   string        `grid:"buyer,omitempty"`
//		Hold    time.Duration `grid:"-,lease"`
//		scratch int           // not exported: not stored
//	}
//
// The first word is the name of the stored field, without one the Go name; a
// field called "-" is not stored. Options follow:
//
//	key            the entry's key: a string, []byte or an integer
//	routing        entries with the same value lie in one partition: see RoutedKey
//	group          orders takes and claims: see space.Definition
//	lease          the entry's lease when it is written: a time.Duration, or the
//	               time.Time of its end; zero is the space's default
//	index          a hash index on this field
//	index=name:n   this field is the n-th of a compound index
//	ordered        the index named before it in the tag also serves ranges of its
//	               last field, which is this one; alone, an ordered index on this field
//	omitempty      a zero value is not stored: the field is absent
//
// A struct within is stored as a map, and its fields may be indexed too, by paths
// with dots; one that is embedded without a tag is stored as if its fields were
// the outer one's.
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
// partitions are atomic together only inside of [Grid.Transact], at the price of
// two more exchanges.
package grid
