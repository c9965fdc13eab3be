package grid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/store"
)

// Open starts a member in this process and returns a handle to its grid. A grid
// of one member is ready at once; otherwise Ready tells when the cluster is
// formed and can serve. The member stops with Close.
func Open(ctx context.Context, c Config) (*Grid, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Grid{handlers: &handlers{byName: map[string]Handler{}}, wall: c.Wall}
	node := cluster.NodeConfig{
		Name: cluster.MemberID(c.Name), Listen: c.Listen, GossipAddr: c.Gossip, Seeds: c.Join,
		ClusterName: c.Cluster, Zone: c.Zone, RESP: c.RESP, HTTP: c.HTTP, Expect: c.Expect,
		Source: c.Source, Wall: c.Wall,
		Partitions: c.Partitions, Copies: c.Copies, AcceptLoss: c.AcceptLoss,
		Handlers: g.handlers, Logger: c.Logger, Logs: replica.LogStorageConfig{OnFatal: c.OnFatal},
	}
	if c.InMemory {
		node.Durability = cluster.Memory
	}
	if c.Dir != "" {
		node.Dir = filepath.Join(c.Dir, logDir)
	}
	if c.Tune != nil {
		c.Tune(&node)
	}
	var err error
	if c.Dir != "" {
		// One disk has all of a member's folders.
		disk := store.Config{Dir: filepath.Join(c.Dir, storeDir), FS: node.Logs.FS, Logger: c.Logger, OnFatal: c.OnFatal}
		if disk.FS == nil {
			if err = os.MkdirAll(c.Dir, 0o700); err != nil {
				return nil, fmt.Errorf("grid: data folder: %w", err)
			}
		}
		if g.record, err = openRecord(disk, c.AcceptLoss); err != nil {
			return nil, fmt.Errorf("grid: store: %w", err)
		}
		node.Store = g.record
	}
	g.sinks = newSinks(c.Sinks, c.Logger, g.record)
	node.Sinks = g.sinks
	if g.node, err = cluster.OpenNode(ctx, node); err != nil {
		err = errors.Join(err, g.sinks.close())
		if g.record != nil {
			err = errors.Join(err, g.record.close())
		}
		return nil, fmt.Errorf("grid: %w", err)
	}
	g.sinks.node.Store(g.node)
	g.router = g.node.Router()
	if c.Expect <= 1 && len(c.Join) == 0 {
		if err := g.Ready(ctx); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

// Ready waits until the grid can serve: the cluster is formed and every partition
// has a leader that answers.
func (g *Grid) Ready(ctx context.Context) error {
	if g.node != nil {
		return g.node.Ready(ctx)
	}
	return g.router.Ready(ctx)
}
