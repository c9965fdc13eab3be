package grid

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Grid is a handle to a grid: of the member in this process, or of a remote
// cluster. All methods may be called concurrently.
type Grid struct {
	router *cluster.Router
	node   *cluster.Node // nil: remote
	// handlers are those of the member; nil: remote.
	handlers *handlers
	record   *record // the embedded store; nil: remote, or nothing is kept
	sinks    *sinks  // external sinks; nil: remote
	hints    hints
	closed   atomic.Bool
}

// DefaultSpace is the space that every grid has from the start: database 0 of
// Redis clients.
const DefaultSpace = "default"

// Dial returns a handle to a remote cluster, given the peer addresses
// (host:port) of some of its members. It blocks until one of them has answered
// and the cluster is formed, or ctx ends.
func Dial(ctx context.Context, addrs ...string) (*Grid, error) {
	dial, err := wire.TCPDialer("")
	if err != nil {
		return nil, fmt.Errorf("grid: %w", err)
	}
	return DialWith(ctx, dial, addrs...)
}

// DialWith is Dial over connections that dial opens, given an address that a
// member has told of itself.
func DialWith(ctx context.Context, dial func(ctx context.Context, addr string) (net.Conn, error), addrs ...string) (*Grid, error) {
	if len(addrs) == 0 {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: "no address to dial", Hint: "give the peer address of a member, such as 127.0.0.1:7381"}
	}
	topology := cluster.NewRemoteTopology(dial, addrs)
	router := cluster.NewRouter(cluster.RouterConfig{Topology: topology, Dial: dial})
	if err := router.Ready(ctx); err != nil {
		return nil, errors.Join(err, router.Close(), topology.Close())
	}
	return &Grid{router: router}, nil
}

// Router returns the way to the partitions, for doors and tools that speak of
// partitions and operations themselves.
func (g *Grid) Router() *cluster.Router { return g.router }

// Node returns the member in this process, nil for a remote handle.
func (g *Grid) Node() *cluster.Node { return g.node }

// Close ends the handle; an embedded member stops after what it has
// acknowledged is in its store. It is safe to call twice.
func (g *Grid) Close() error {
	if g.closed.Swap(true) {
		return nil
	}
	if g.node == nil {
		return g.router.Close()
	}
	err := errors.Join(g.node.Close(), g.sinks.close())
	if g.record != nil {
		err = errors.Join(err, g.record.close())
	}
	return err
}

// Partitions returns the number of partitions, which never changes.
func (g *Grid) Partitions() int { return len(g.router.State().Table) }

// Spaces returns the definitions of all spaces, by name.
func (g *Grid) Spaces(ctx context.Context) ([]space.Definition, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	defs := make([]space.Definition, 0, len(g.router.State().Spaces))
	for i := range g.router.State().Spaces {
		defs = append(defs, g.router.State().Spaces[i].Clone())
	}
	slices.SortFunc(defs, func(a, b space.Definition) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return defs, nil
}

// CreateSpace defines a space and returns when every part of the grid can use
// it. Creating a space again with the same definition is not an error.
func (g *Grid) CreateSpace(ctx context.Context, def space.Definition) (space.Definition, error) {
	if err := def.Validate(); err != nil {
		return space.Definition{}, err
	}
	reply, err := g.router.Control(ctx, &cluster.CreateSpace{Definition: def})
	if err != nil {
		return space.Definition{}, asRefusal(err)
	}
	made, ok := g.router.State().SpaceByID(reply.Space)
	if !ok {
		return space.Definition{}, noSpace(def.Name) // dropped at once by somebody else
	}
	return made.Clone(), nil
}

// DropSpace removes a space with all its entries.
func (g *Grid) DropSpace(ctx context.Context, name string) error {
	def, err := g.Describe(ctx, name)
	if err != nil {
		return err
	}
	_, err = g.router.Control(ctx, &cluster.DropSpace{Space: def.ID})
	return err
}

// Describe returns the definition of a space, or ErrNoSpace.
func (g *Grid) Describe(ctx context.Context, name string) (space.Definition, error) {
	if def, ok := g.router.State().Space(name); ok {
		return def.Clone(), nil
	}
	// It may have been created a moment ago elsewhere.
	if err := g.router.Refresh(ctx); err != nil && ctx.Err() != nil {
		return space.Definition{}, err
	}
	if def, ok := g.router.State().Space(name); ok {
		return def.Clone(), nil
	}
	return space.Definition{}, noSpace(name)
}

func noSpace(name string) error {
	return &space.Error{Code: space.CodeNoSpace, Detail: fmt.Sprintf("space %q does not exist", name), Hint: "create it first; spacegrid spaces lists those there are"}
}
