package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// waitSlice is how long a member keeps a request open whose command waits.
	// Then it answers that the command still waits, and the client sends the same
	// request again: the place in line is the partition's, not the request's.
	waitSlice = 30 * time.Second
	// maxCallers bounds the requests that a replica keeps open. Whoever comes when
	// there are so many is told at once that the command waits.
	maxCallers = 1 << 16
)

// callers is who stands at a leader for the answer of a waiting command. It costs
// no goroutine: the request's own is blocked, and the one that applies commands
// hands the answer over.
type callers struct {
	mu struct {
		sync.Mutex
		by    map[waitingCommand]*caller
		count int
	}
}

// waitingCommand is the identity of a command in a group.
type waitingCommand struct {
	partition space.PartitionID
	session   space.SessionID
	sequence  uint64
}

// caller is one open request.
type caller struct {
	command waitingCommand
	// answer has one slot. Nil bytes say that the answer will not come here.
	answer chan []byte
	bell   chan struct{} // rung when there is an answer; one slot, shared by the commands of a request
	next   *caller       // another request for the same command: an older one, repeated
}

func (c *caller) hear(reply []byte) {
	select {
	case c.answer <- reply:
	default: // it has one
	}
	poke(c.bell)
}

// join adds a request, before its command is proposed, so that no answer is
// missed; nil if there are too many. Whoever joins leaves.
func (cs *callers) join(id waitingCommand, bell chan struct{}) *caller {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mu.count >= maxCallers {
		return nil
	}
	if cs.mu.by == nil {
		cs.mu.by = map[waitingCommand]*caller{}
	}
	c := &caller{command: id, answer: make(chan []byte, 1), bell: bell, next: cs.mu.by[id]}
	cs.mu.by[id] = c
	cs.mu.count++
	return c
}

func (cs *callers) leave(c *caller) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.mu.count--
	first := cs.mu.by[c.command]
	if first == c {
		if c.next == nil {
			delete(cs.mu.by, c.command)
		} else {
			cs.mu.by[c.command] = c.next
		}
		return
	}
	for first.next != c {
		first = first.next
	}
	first.next = c.next
}

// granted hands answers over. It runs on the applying goroutine, of followers
// too, and waits for nobody.
func (cs *callers) granted(p space.PartitionID, grants []space.Grant) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mu.count == 0 {
		return
	}
	for _, g := range grants {
		for c := cs.mu.by[waitingCommand{p, g.Session, g.Sequence}]; c != nil; c = c.next {
			c.hear(g.Reply)
		}
	}
}

// release tells all that the answers will not come here: this replica does not
// lead any more.
func (cs *callers) release() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.mu.by {
		for ; c != nil; c = c.next {
			c.hear(nil)
		}
	}
}

// submitWaiting proposes commands that all may wait, and returns when one of them
// has its answer, when waitSlice is over, when ctx has ended, or when this replica
// does not lead any more. The outcome of the others says that they wait. They then
// do, as far as is known here: whoever sends them again learns more.
func (h *held) submitWaiting(ctx context.Context, l *leadership, subs []Submission, ids []waitingCommand) []Outcome {
	bell := make(chan struct{}, 1)
	cs := make([]*caller, 0, len(ids))
	defer func() {
		for _, c := range cs {
			h.callers.leave(c)
		}
	}()
	for _, id := range ids {
		c := h.callers.join(id, bell)
		if c == nil {
			break
		}
		cs = append(cs, c)
	}
	outs := h.submit(ctx, l, subs)
	waits := func(out Outcome) bool { return out.Err == nil && space.Waits(out.Reply) }
	if len(cs) == len(ids) && !slices.ContainsFunc(outs, func(out Outcome) bool { return !waits(out) }) && h.serving() != nil {
		timer := time.NewTimer(waitSlice)
		defer timer.Stop()
		select {
		case <-bell:
		case <-timer.C:
		case <-ctx.Done():
		case <-h.ctx.Done():
		}
	}
	for i, c := range cs {
		select {
		case reply := <-c.answer:
			if reply != nil && waits(outs[i]) {
				outs[i].Reply = reply
			}
		default:
		}
	}
	return outs
}
