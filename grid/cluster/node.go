package cluster

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Invoker runs the handlers of units that this process hosts.
type Invoker interface {
	// Invoke runs one call as a transaction over v and returns the operations
	// that make it: checks of what was read, writes, and the response. It has no
	// other effect and may be run again. An error refuses the call.
	Invoke(ctx context.Context, call *Invocation, v View) ([]space.Op, error)
}

// View is a partition as a handler sees it, on the leader.
type View interface {
	Partitions() int
	// Definition returns the definition of a space by name, nil if there is none.
	Definition(name string) *space.Definition
	// Get returns an entry; one whose lease has ended is not found.
	Get(id space.ID, key []byte) (space.Entry, space.Code)
}

// Node is one member of a cluster.
type Node struct{}

// Close stops the member.
func (n *Node) Close() error { return nil }
