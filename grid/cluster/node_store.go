package cluster

import (
	"context"
	"io"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Store keeps the record of a member's partitions, so that a cluster that has
// lost its logs can start again. Every replica feeds its own store. The methods
// may be called concurrently.
type Store interface {
	// Stored tells what the store holds. It is called at the start.
	Stored(ctx context.Context) (StoredGrid, error)
	// Bind records what every partition has in common, before the first Attach
	// and again whenever it changes. Its Partitions and Positions of partitions
	// are not looked at.
	Bind(ctx context.Context, grid StoredGrid) error
	// Load reads a partition and begins a history with it, whose epoch is above
	// the store's and the given one.
	Load(ctx context.Context, p space.PartitionID, h space.History, above space.Epoch) (*space.Partition, error)
	// Export writes what Import on another member reads.
	Export(ctx context.Context, p space.PartitionID, w io.Writer) error
	// Import reads another member's Export and begins a history with it, as Load
	// does. The store itself is not changed.
	Import(ctx context.Context, r io.Reader, h space.History, above space.Epoch) (*space.Partition, error)
	// Attach begins to feed the store from a partition that this member holds, and
	// Detach ends it.
	Attach(p space.PartitionID, src StoreSource) error
	Detach(p space.PartitionID)
	// Notify says that the partition has new changes. It must not block.
	Notify(p space.PartitionID)
	// Watermarks returns the last durable change of every attached partition.
	Watermarks() map[space.PartitionID]space.Seq
	// Flush returns when everything applied before the call is durable.
	Flush(ctx context.Context) error
}

// StoreInspector is a Store that tells how it is.
type StoreInspector interface {
	// Inspect returns a summary that encodes as JSON. It does not block.
	Inspect() any
}

// StoredGrid is what a store knows of the grid that it belongs to. All of it is
// zero for a new store.
type StoredGrid struct {
	Cluster ClusterID
	// Version is that of the control state that this was true of last. It grows
	// over cold starts: of two stores' accounts the greater one is the newer.
	Version uint64
	Owner   MemberID // whose store it is
	// Members are those that the cluster had, by name, without the lost ones. A
	// cold start needs them all, or a majority of them if loss is accepted.
	Members    []MemberID
	Count      int // partitions of the grid
	Spaces     []space.Definition
	LastSpace  space.ID
	Sinks      []Sink
	Partitions []StoredPartition
}

// StoredPartition is how far a store has come with one partition.
type StoredPartition struct {
	ID space.PartitionID
	// Position is the last change that the store holds, and Epoch that of its
	// leader. Within a history the greater Seq is the newer one of two stores; of
	// two histories the one that has the greater Epoch, because each begins above
	// what the stores of those before it have.
	Position space.Position
	Epoch    space.Epoch
}

// StoreSource is a partition as its store reads it.
type StoreSource interface {
	// Describe returns the partition's identity and its last change. It does not
	// block.
	Describe() StoreDescription
	// Read appends changes as space.Changelog.Read does.
	Read(dst []space.Change, after space.Seq, maxBytes int) ([]space.Change, error)
	// Cut returns an image of the partition as it is now, and its clock. It waits
	// for the goroutine that applies.
	Cut(ctx context.Context) (*space.Image, space.Time, error)
}

// StoreDescription is a summary of a StoreSource.
type StoreDescription struct {
	History space.History
	Origin  space.Position
	Epoch   space.Epoch
	Last    space.Seq
}
