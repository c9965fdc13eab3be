package replica

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// maxWaiting bounds the commands that wait for one group: a second or so of
	// what a group can do. More would only make everybody wait longer.
	maxWaiting = 1 << 16
	// maxWaitingBytes bounds them by size.
	maxWaitingBytes = 64 << 20
)

// waiting is a command that waits to be put into an entry.
type waiting struct {
	command []byte
	done    func(reply []byte, err error)
}

// queue holds the commands that wait for a group, in the order of Submit.
type queue struct {
	wake chan struct{} // one slot; has a value whenever there may be work

	mu struct {
		sync.Mutex
		items  []waiting // of which those below head are taken
		head   int
		bytes  int
		closed bool
	}
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put appends a command.
func (q *queue) put(w waiting) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.mu.closed:
		return ErrGroupClosed
	case q.lenLocked() >= maxWaiting, q.lenLocked() > 0 && q.mu.bytes+len(w.command) > maxWaitingBytes:
		return ErrOverloaded
	}
	q.mu.items = append(q.mu.items, w)
	q.mu.bytes += len(w.command)
	if q.lenLocked() == 1 {
		signal(q.wake)
	}
	return nil
}

// take waits for commands and moves what fits into one entry to batch, which it
// overwrites. It returns nothing once the queue is closed.
func (q *queue) take(batch []waiting) []waiting {
	for {
		q.mu.Lock()
		if q.mu.closed {
			q.mu.Unlock()
			return nil
		}
		items := q.mu.items[q.mu.head:]
		n, size := 0, 0
		for ; n < min(len(items), maxEntryCommands); n++ {
			command := items[n].command
			if size += entrySize(command); n > 0 && size > maxEntryBytes {
				break
			}
			q.mu.bytes -= len(command)
		}
		if n > 0 {
			batch = append(batch[:0], items[:n]...)
			q.dropLocked(n)
			q.mu.Unlock()
			return batch
		}
		q.mu.Unlock()
		<-q.wake
	}
}

// dropLocked removes the first n commands. What is left moves to the front when
// it is no more than what was taken, so that each command moves once at most.
func (q *queue) dropLocked(n int) {
	clear(q.mu.items[q.mu.head:][:n])
	q.mu.head += n
	if left := q.lenLocked(); left <= q.mu.head {
		copy(q.mu.items, q.mu.items[q.mu.head:])
		clear(q.mu.items[q.mu.head:])
		q.mu.items, q.mu.head = q.mu.items[:left], 0
	}
}

func (q *queue) lenLocked() int { return len(q.mu.items) - q.mu.head }

// rest returns what was never taken from a closed queue.
func (q *queue) rest() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.mu.items[q.mu.head:]
	q.mu.items, q.mu.head, q.mu.bytes = nil, 0, 0
	return items
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lenLocked()
}

func (q *queue) close() {
	q.mu.Lock()
	q.mu.closed = true
	q.mu.Unlock()
	signal(q.wake)
}

// Submit asks for a command to be agreed on and applied. It never blocks. done
// is called exactly once with the reply, or with what is known otherwise:
//
//   - NotLeaderError, ErrOverloaded, ErrCommandTooLarge, ErrGroupClosed: the
//     command was not taken up;
//   - ErrIndeterminate: it may or may not take effect, now or later.
//
// done must not block, and must not call Close. A command that is refused on
// the spot (ErrOverloaded, ErrCommandTooLarge, ErrGroupClosed) has its done
// called before Submit returns; all others have it called by one goroutine of
// the group, in the order in which they were submitted. That is also the order
// in which they are applied. The group keeps command until then; reply is the
// receiver's.
func (g *Group) Submit(command []byte, done func(reply []byte, err error)) {
	err := ErrCommandTooLarge
	if len(command) <= MaxCommandBytes {
		err = g.queue.put(waiting{command, done})
	}
	if err != nil {
		done(nil, err)
	}
}

// Propose is Submit that waits. When ctx ends first, it returns
// ErrIndeterminate together with ctx's error, and command may still be read.
func (g *Group) Propose(ctx context.Context, command []byte) ([]byte, error) {
	type outcome struct {
		reply []byte
		err   error
	}
	answer := make(chan outcome, 1)
	g.Submit(command, func(reply []byte, err error) { answer <- outcome{reply, err} })
	select {
	case o := <-answer:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, indeterminate(ctx.Err())
	}
}

// propose puts the waiting commands into log entries, one entry at a time, and
// answers them, until Close. A lone command goes at once; those that come while
// an entry is on its way share the next. More entries in flight would only make
// smaller ones.
func (g *Group) propose() {
	var batch []waiting
	for {
		batch = g.queue.take(batch)
		if batch == nil {
			break
		}
		replies, err := g.proposeEntry(batch)
		for i, w := range batch {
			if err != nil {
				w.done(nil, err)
			} else {
				w.done(replies[i], nil)
			}
		}
		clear(batch)
	}
	for _, w := range g.queue.rest() {
		w.done(nil, ErrGroupClosed)
	}
}

// proposeEntry has one entry agreed on and returns its replies.
func (g *Group) proposeEntry(batch []waiting) ([][]byte, error) {
	in := g.current.Load()
	if !in.begin() {
		return nil, &NotLeaderError{}
	}
	defer in.end()
	if in.raft.State() != raft.Leader {
		return nil, in.notLeader()
	}
	if r := g.cfg.Storage.ring; r != nil && r.Bytes() > r.Limit()*7/8 {
		return nil, ErrOverloaded // Before raft meets the end of its log, and steps down.
	}
	future := in.raft.Apply(encodeEntry(batch), g.cfg.Timing.Election)
	if err := in.outcome(future.Error()); err != nil {
		return nil, err
	}
	return future.Response().([][]byte), nil
}
