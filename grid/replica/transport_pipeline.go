package replica

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pipelineDepth is how many AppendEntries of a pipeline are unanswered at most.
// Two overlap the making of the next request with the wait for the last; more
// only make batches smaller.
const pipelineDepth = 2

// pipeline sends AppendEntries without waiting for each reply.
//
// Raft takes any future that comes back for contact with the follower, failed
// or not. So a failed one never does come back: the pipeline breaks instead,
// and raft learns of it from its next AppendEntries, at the latest when the
// commit timeout makes it send one.
type pipeline struct {
	g      *GroupTransport
	id     raft.ServerID
	target raft.ServerAddress

	// floor is asked before a request is sent, and what it returns goes to judge with
	// the answer, before anybody else has it. An error of either breaks the pipeline.
	// Both are set before the first request, or nil.
	floor func(*raft.AppendEntriesRequest) (uint64, error)
	judge func(floor uint64, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error

	ctx    context.Context // ends with Close and with the first failure
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{}
	sent   chan *appendFuture
	done   chan raft.AppendFuture
}

// AppendEntriesPipeline starts a pipeline. Raft closes it.
func (g *GroupTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := g.pipeline(id, target)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (g *GroupTransport) pipeline(id raft.ServerID, target raft.ServerAddress) (*pipeline, error) {
	if g.ctx.Err() != nil {
		return nil, ErrTransportClosed
	}
	p := &pipeline{
		g: g, id: id, target: target,
		slots: make(chan struct{}, pipelineDepth),
		sent:  make(chan *appendFuture, pipelineDepth),
		done:  make(chan raft.AppendFuture, pipelineDepth),
	}
	p.ctx, p.cancel = context.WithCancel(g.ctx)
	p.wg.Go(p.receive)
	return p, nil
}

// AppendEntries sends one more request, and waits while pipelineDepth are
// unanswered. Like GroupTransport.AppendEntries it may shorten args.Entries.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
	}
	if p.ctx.Err() != nil {
		return nil, raft.ErrPipelineShutdown
	}
	var floor uint64
	if p.floor != nil {
		var err error
		if floor, err = p.floor(args); err != nil {
			p.cancel()
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.g.t.cfg.StaleAfter)
	defer cancel()
	call, err := p.g.startAppend(ctx, p.id, p.target, args)
	if err != nil {
		p.cancel()
		return nil, err
	}
	f := &appendFuture{call: call, floor: floor, args: args, resp: resp, ready: make(chan struct{})}
	p.sent <- f
	if p.ctx.Err() != nil {
		p.abandon() // receive may have gone before f was there
	}
	return f, nil
}

// Consumer returns the futures that have succeeded, in order.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close gives up what is unanswered and waits. Closing twice is harmless.
func (p *pipeline) Close() error {
	p.cancel()
	p.wg.Wait()
	return nil
}

// receive completes the futures in the order of sending, until one fails.
func (p *pipeline) receive() {
	defer p.cancel()
	for {
		select {
		case f := <-p.sent:
			ctx, cancel := context.WithDeadline(p.ctx, f.call.started.Add(f.call.stale))
			err := f.call.wait(ctx, f.resp)
			cancel()
			if err == nil && p.judge != nil {
				err = p.judge(f.floor, f.args, f.resp)
			}
			f.respond(err)
			if err != nil {
				p.abandon()
				return
			}
			<-p.slots
			select {
			case p.done <- f:
			case <-p.ctx.Done():
			}
		case <-p.ctx.Done():
			p.abandon()
			return
		}
	}
}

// abandon fails what has been sent and will not be waited for.
func (p *pipeline) abandon() {
	for {
		select {
		case f := <-p.sent:
			f.respond(raft.ErrPipelineShutdown)
		default:
			return
		}
	}
}

// appendFuture is one AppendEntries of a pipeline.
type appendFuture struct {
	call  *appendCall
	floor uint64
	args  *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
	err   error
	ready chan struct{}
}

func (f *appendFuture) respond(err error) {
	f.err = err
	close(f.ready)
}

// Error waits for the reply.
func (f *appendFuture) Error() error {
	<-f.ready
	return f.err
}

func (f *appendFuture) Start() time.Time                      { return f.call.started }
func (f *appendFuture) Request() *raft.AppendEntriesRequest   { return f.args }
func (f *appendFuture) Response() *raft.AppendEntriesResponse { return f.resp }
