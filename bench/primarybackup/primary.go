package primarybackup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// queueMax bounds the writes that wait for their batch; connections are not
// read while it is full. It is several batches, so that the next is always ready.
const queueMax = 4096

// errBackup is the answer to writes once a backup has failed.
var errBackup = errors.New("primarybackup: a backup has failed (there is no replacement: start again)")

// primary gathers writes into batches. Connections hand them over through queue
// to one goroutine, which alone sends, applies and acknowledges: one batch at a
// time, and while that one is on its way the next one gathers.
type primary struct {
	server  *server
	backups []*wire.Conn
	data    *replica
	queue   chan write
	stop    context.CancelFunc
	ctx     context.Context // ends with stop
	wg      sync.WaitGroup
}

func openPrimary(ctx context.Context, backups []string) (*primary, error) {
	p := &primary{data: newReplica(), queue: make(chan write, queueMax)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for _, addr := range backups {
		conn, err := connect(ctx, addr)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.backups = append(p.backups, conn)
	}
	s, err := listen(ctx, p.handle)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("primarybackup: start the primary: %w", err), p.close())
	}
	p.server = s
	p.wg.Go(p.replicate)
	return p, nil
}

// handle queues one write. It blocks while the queue is full.
func (p *primary) handle(f wire.Frame, w *wire.Writer) error {
	if f.Kind != kindWrite {
		return w.Fail(f.ID, fmt.Errorf("primarybackup: the primary takes no request of kind %d", f.Kind))
	}
	in := wire.NewParser(f.Body)
	put := write{key: in.Bytes(keyMax), value: in.Bytes(valueMax), w: w, id: f.ID}
	if err := in.End(); err != nil {
		return w.Fail(f.ID, fmt.Errorf("primarybackup: a write: %w", err))
	}
	select {
	case p.queue <- put:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// replicate carries out batch after batch until the primary is closed.
func (p *primary) replicate() {
	var b batch
	var failed error
	for p.gather(&b) {
		if failed == nil {
			failed = p.send(&b)
		}
		if failed == nil {
			p.data.mu.Lock()
			for i := range b.writes {
				p.data.putLocked(b.writes[i].key, b.writes[i].value)
			}
			p.data.mu.Unlock()
		}
		for i := range b.writes {
			w := &b.writes[i]
			if failed == nil {
				// A connection that takes no answers loses them, as it would by
				// breaking.
				_ = w.w.Reply(w.id, nil)
			} else {
				_ = w.w.Fail(w.id, failed)
			}
		}
		b.reset()
	}
}

// gather waits for a write and takes all others that wait, as far as there is
// room. It returns false when the primary is closed.
func (p *primary) gather(b *batch) bool {
	select {
	case first := <-p.queue:
		for room := b.take(first); room; {
			select {
			case next := <-p.queue:
				room = b.take(next)
			default:
				return true
			}
		}
		return true
	case <-p.ctx.Done():
		return false
	}
}

// send sends a batch to all backups at once and waits for all of them.
func (p *primary) send(b *batch) error {
	pending := make([]*wire.Pending, len(p.backups))
	for i, conn := range p.backups {
		var err error
		if pending[i], err = conn.Start(p.ctx, kindBatch, b.append); err != nil {
			return fmt.Errorf("%w: %w", errBackup, err)
		}
	}
	for _, sent := range pending {
		if _, err := sent.Wait(p.ctx); err != nil {
			return fmt.Errorf("%w: %w", errBackup, err)
		}
	}
	return nil
}

func (p *primary) close() error {
	p.stop()
	var err error
	if p.server != nil {
		err = p.server.close()
	}
	p.wg.Wait()
	for _, conn := range p.backups {
		conn.Close() // the backups are next
	}
	return err
}
