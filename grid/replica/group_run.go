package replica

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// retryPause is how long a snapshot or barrier that failed for a passing reason
// waits for its next attempt.
const retryPause = 50 * time.Millisecond

// barrier is the end of an attempt to bring a new leader up to date.
type barrier struct {
	in   *instance
	term uint64
	err  error
}

// view is what run has told the Observer last.
type view struct {
	leading   uint64 // term, 0 if following
	following ServerID
	term      uint64
	barrier   uint64 // term for which one is in progress, 0 if none
}

// run owns the instance and the Observer until Close.
func (g *Group) run() {
	defer func() {
		g.leading.Store(0)
		g.err = g.current.Load().stop(g.cfg.Timing.Lease)
	}()
	var v view
	stander := newStander(g)
	defer stander.timer.Stop()
	for {
		in := g.current.Load()
		select {
		case <-in.leads:
		case <-in.changed:
		case b := <-g.barriers:
			g.afterBarrier(b, &v)
			continue
		case h := <-g.hints:
			stander.hear(h)
			continue
		case <-stander.timer.C:
			stander.look()
			continue
		case r := <-g.requests:
			r.done <- r.do()
			v.barrier = 0
		case <-g.restart:
			g.restartRaft()
			v.barrier = 0
		case <-g.machine.due:
			g.snapshotSoon(in)
			continue
		case <-g.stop:
			return
		}
		g.look(&v)
	}
}

// look compares raft with what the Observer knows.
func (g *Group) look(v *view) {
	in := g.current.Load()
	term := in.raft.CurrentTerm()
	if !in.leadsIn(term) {
		g.follow(v, in.leader(), term)
		return
	}
	if v.leading == term {
		return
	}
	if v.leading != 0 {
		g.follow(v, ServerID{}, term)
	}
	if v.barrier == term || !in.begin() {
		return
	}
	v.barrier = term
	g.wg.Go(func() {
		err := in.raft.Barrier(g.cfg.Timing.Election).Error()
		in.end()
		select {
		case g.barriers <- barrier{in, term, err}:
		case <-g.stop:
		}
	})
}

// follow tells the Observer that this replica does not lead, once.
func (g *Group) follow(v *view, leader ServerID, term uint64) {
	if leader == g.cfg.Self {
		leader = ServerID{} // It was us, a moment ago.
	}
	if v.leading == 0 && v.following == leader && v.term == term {
		return
	}
	if v.leading != 0 {
		g.cfg.Logger.Info("leading no more", "term", v.leading)
	}
	g.leading.Store(0)
	v.leading, v.following, v.term = 0, leader, term
	g.cfg.Observer.Following(leader, term)
}

// afterBarrier announces the leadership, if it is still the same. The barrier
// was appended in that term or a later one; as the term is the same now, it was
// in that one, and everything before it has been applied.
func (g *Group) afterBarrier(b barrier, v *view) {
	if b.in != g.current.Load() || v.barrier != b.term {
		return
	}
	v.barrier = 0
	if b.err != nil {
		// The leadership is over, or is being handed over. If that fails it
		// goes on, so look again.
		time.AfterFunc(retryPause, func() { signal(b.in.changed) })
		return
	}
	if !b.in.leadsIn(b.term) {
		g.look(v)
		return
	}
	v.leading, v.following, v.term = b.term, ServerID{}, b.term
	g.leading.Store(b.term)
	g.cfg.Logger.Info("leading", "term", b.term)
	g.cfg.Observer.Leading(b.term)
}

// snapshotInstalled is told by the endpoint about a snapshot from the leader.
func (g *Group) snapshotInstalled(lastBefore, snapshot uint64) {
	if RestartAfterSnapshot(lastBefore, snapshot) {
		g.installed.Store(snapshot)
		signal(g.restart)
	}
}

// restartRaft puts a new raft instance over the log that a snapshot has emptied,
// because the old one still believes in the log that was there.
func (g *Group) restartRaft() {
	snapshot := g.installed.Load()
	g.cfg.Logger.Info("restarting after a snapshot", "snapshot", snapshot)
	g.restarts.Add(1)
	err := g.reopen(func() (uint64, error) { return snapshot, nil })
	if err != nil {
		g.cfg.Logger.Error("restart after a snapshot failed; trying again", "err", err)
		time.AfterFunc(g.cfg.Timing.Heartbeat, func() { signal(g.restart) })
	}
}

// snapshotSoon takes a snapshot beside everything else.
func (g *Group) snapshotSoon(in *instance) {
	if !in.begin() {
		return
	}
	g.wg.Go(func() {
		defer in.end()
		err := in.raft.Snapshot().Error()
		if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return
		}
		select {
		case <-g.stop:
		default:
			g.cfg.Logger.Warn("snapshot failed; trying again", "err", err)
			time.AfterFunc(g.cfg.Timing.Heartbeat, func() { signal(g.machine.due) })
		}
	})
}
