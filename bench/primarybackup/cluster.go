package primarybackup

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// backupsMax bounds a cluster to what can be compared with: a primary and this
// many make as many copies as a grid keeps at most.
const backupsMax = 6

// Cluster is a primary with its backups.
type Cluster struct {
	primary *primary
	backups []*backup
}

// Open starts a primary and its backups, 1 to 6. Close it after use.
func Open(ctx context.Context, backups int) (*Cluster, error) {
	if backups < 1 || backups > backupsMax {
		return nil, fmt.Errorf("primarybackup: %d backups (give 1 to %d)", backups, backupsMax)
	}
	c := &Cluster{}
	var addrs []string
	for range backups {
		b, err := openBackup(ctx)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.backups = append(c.backups, b)
		addrs = append(addrs, b.server.addr())
	}
	p, err := openPrimary(ctx, addrs)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.primary = p
	return c, nil
}

// Addr returns the address at which the primary takes writes.
func (c *Cluster) Addr() string { return c.primary.server.addr() }

// Copies returns the value of a key in the primary and then in each backup, nil
// where it is absent.
func (c *Cluster) Copies(key []byte) [][]byte {
	copies := [][]byte{c.primary.data.get(key)}
	for _, b := range c.backups {
		copies = append(copies, b.data.get(key))
	}
	return copies
}

// Close ends the primary and its backups. Writes that wait fail. It is safe to
// call twice.
func (c *Cluster) Close() error {
	var err error
	if c.primary != nil {
		err = c.primary.close()
	}
	for _, b := range c.backups {
		err = errors.Join(err, b.server.close())
	}
	return err
}

// backup applies batches as they come.
type backup struct {
	server *server
	data   *replica
}

func openBackup(ctx context.Context) (*backup, error) {
	b := &backup{data: newReplica()}
	s, err := listen(ctx, b.handle)
	if err != nil {
		return nil, fmt.Errorf("primarybackup: start a backup: %w", err)
	}
	b.server = s
	return b, nil
}

// handle applies one batch and acknowledges it.
func (b *backup) handle(f wire.Frame, w *wire.Writer) error {
	if f.Kind != kindBatch {
		return w.Fail(f.ID, fmt.Errorf("primarybackup: a backup takes no request of kind %d", f.Kind))
	}
	b.data.mu.Lock()
	err := eachWrite(f.Body, b.data.putLocked)
	b.data.mu.Unlock()
	if err != nil {
		return w.Fail(f.ID, err)
	}
	return w.Reply(f.ID, nil)
}

// Client writes to a cluster. All methods may be called concurrently; the
// callers share one connection.
type Client struct{ conn *wire.Conn }

// Dial connects to a primary. Close the Client after use.
func Dial(ctx context.Context, addr string) (*Client, error) {
	conn, err := connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn}, nil
}

// Write writes a value under a key and blocks until all copies have it, or ctx
// ends. The slices may be used again when it returns.
func (c *Client) Write(ctx context.Context, key, value []byte) error {
	p, err := c.conn.Start(ctx, kindWrite, func(dst []byte) []byte {
		return wire.AppendBytes(wire.AppendBytes(dst, key), value)
	})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

func connect(ctx context.Context, addr string) (*wire.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("primarybackup: %w", err)
	}
	return wire.NewConn(nc, frameMax), nil
}
