package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/bench/primarybackup"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// gridClient is one caller of a grid handle: the operations of a Do are one
// batch.
type gridClient struct {
	g     *grid.Grid
	space space.ID
	batch *grid.Batch
}

var _ Client = (*gridClient)(nil)

// DialGrid returns a Dial whose clients call one handle, of an embedded member
// or of a remote cluster, which the caller keeps and closes. They read and write
// opaque bytes in the default space. Reads are linearizable.
func DialGrid(g *grid.Grid) Dial {
	return func(ctx context.Context, _ int) (Client, error) {
		def, err := g.Describe(ctx, grid.DefaultSpace)
		if err != nil {
			return nil, err
		}
		return &gridClient{g: g, space: def.ID, batch: g.NewBatch()}, nil
	}
}

// Do carries the operations out as one batch.
func (c *gridClient) Do(ctx context.Context, ops []Op) (Outcome, error) {
	c.batch.Reset()
	for i := range ops {
		if ops[i].Read {
			c.batch.Get(c.space, ops[i].Key)
		} else {
			c.batch.Do(space.Op{Code: space.OpWrite, Space: c.space, Key: ops[i].Key, Value: ops[i].Value, Kind: space.KindBytes})
		}
	}
	var out Outcome
	if err := c.g.Run(ctx, c.batch); err != nil {
		return out, err
	}
	for i := range ops {
		r, err := c.batch.Result(i)
		switch {
		case ops[i].Read && errors.Is(err, grid.ErrNotFound):
			out.Missed++
		case err != nil:
			if ctx.Err() != nil {
				return out, context.Cause(ctx)
			}
			out.Failed++
			out.Err = err
		case ops[i].Read && len(r.Entries[0].Value) != len(ops[i].Value):
			out.Failed++
			out.Err = fmt.Errorf("bench: read %d bytes where %d were written", len(r.Entries[0].Value), len(ops[i].Value))
		}
	}
	return out, nil
}

// Close leaves the handle to its owner.
func (c *gridClient) Close() error { return nil }

// backupClient is one caller of a primary-backup cluster. Callers share a
// connection, as those of a grid handle do.
type backupClient struct{ conn *primarybackup.Client }

func (c backupClient) Do(ctx context.Context, ops []Op) (Outcome, error) {
	for i := range ops {
		if ops[i].Read {
			return Outcome{}, errors.New("bench: the primary-backup loop only writes (set the share of reads to 0)")
		}
		if err := c.conn.Write(ctx, ops[i].Key, ops[i].Value); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return Outcome{}, err
		}
	}
	return Outcome{}, nil
}

// Close leaves the connection to its owner.
func (c backupClient) Close() error { return nil }

func dialBackup(conn *primarybackup.Client) Dial {
	return func(context.Context, int) (Client, error) { return backupClient{conn: conn}, nil }
}
