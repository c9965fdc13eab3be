package cluster

import (
	"context"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// dutyEvery is how often a leader looks after its partitions: how late an
	// entry whose lease has ended is removed when nobody asks for it.
	dutyEvery = 100 * time.Millisecond
	// takeOverTime bounds one attempt to take over, so that a lost answer is asked
	// for again.
	takeOverTime = 5 * time.Second
	// clockEvery is how many rounds lie between two ticks of a partition that has
	// leases or kept answers and nothing else to do. A tick writes the clock down:
	// what passes after the last one is added to the leases when the leader dies.
	clockEvery = 50
)

// run does what the leader of a group has to do, while this replica leads, until
// the group is closed.
func (h *held) run() {
	timer := time.NewTimer(dutyEvery)
	defer timer.Stop()
	for {
		changed := h.n.states.heard()
		h.duties()
		if h.ctx.Err() != nil {
			return
		}
		wait := dutyEvery
		if h.term.Load() == 0 {
			wait = time.Hour // the wake channel ends it
		}
		timer.Reset(wait)
		select {
		case <-h.ctx.Done():
			return
		case <-h.wake:
		case <-changed:
		case <-timer.C:
		}
	}
}

// approved reports whether the group's state is the one that the control group
// has agreed on. Until then another bootstrap may take the place of the one that
// made it, and nobody may rely on what it answers.
func (h *held) approved() bool {
	g, ok := h.n.control.State().Group(h.id)
	return ok && g.Stage == Serving && g.Bootstrap.Attempt == h.attempt
}

// duties takes over if this replica has come to lead, and carries out one round.
func (h *held) duties() {
	term := h.term.Load()
	if term == 0 {
		return
	}
	if !h.approved() {
		h.raise()
		return
	}
	l := h.lead.Load()
	if l == nil || l.term != term {
		var err error
		if l, err = h.takeOver(term); err != nil {
			if h.ctx.Err() == nil && h.term.Load() == term {
				h.log.Warn("taking over has failed and is tried again", "term", term, "err", err)
			}
			return
		}
	}
	l.rounds++
	ctx, cancel := context.WithTimeout(h.ctx, takeOverTime)
	defer cancel()
	h.round(ctx, l)
}

// takeOver begins a leadership: the partition clocks go on from where they
// stand, the epochs rise, definitions that partitions lack are brought to them,
// and then this replica serves.
func (h *held) takeOver(term uint64) (*leadership, error) {
	ctx, cancel := context.WithTimeout(h.ctx, takeOverTime)
	defer cancel()
	l := &leadership{term: term, bases: map[space.PartitionID]space.Time{}}
	err := h.group.Inspect(ctx, func() {
		for id, p := range h.host.all() {
			l.bases[id] = p.Clock()
		}
		l.started = time.Now()
	})
	if err != nil {
		return nil, err
	}
	wall := h.n.cfg.Wall().UnixNano()
	commands := make([]systemCommand, 0, len(l.bases))
	for _, p := range sortedPartitions(h.host.all()) {
		commands = append(commands, systemCommand{p.ID(), space.EpochCommand(wall)})
	}
	if err := h.order(ctx, l, commands); err != nil {
		return nil, err
	}
	if err := h.define(ctx, l); err != nil {
		return nil, err
	}
	h.lead.Store(l)
	if h.term.Load() != term {
		h.lead.CompareAndSwap(l, nil)
	}
	h.n.roles.ring()
	h.log.Info("leads", "term", term, "partitions", len(l.bases))
	return l, nil
}

// round looks after the partitions once. What fails is done in the next round.
func (h *held) round(ctx context.Context, l *leadership) {
	for _, duty := range []struct {
		what string
		do   func(context.Context, *leadership) error
	}{
		{"definitions", h.define}, {"expiry", h.expire}, {"trim", h.trimLogs}, {"members", h.align},
	} {
		if err := duty.do(ctx, l); err != nil && h.lead.Load() == l && h.ctx.Err() == nil {
			h.log.Debug("a duty of the leader is put off", "duty", duty.what, "err", err)
		}
	}
}

// expire removes entries whose lease has ended and answers that nobody may ask
// for any more, and takes indexes further that are being built.
func (h *held) expire(ctx context.Context, l *leadership) error {
	var due []systemCommand
	err := h.group.Inspect(ctx, func() {
		for id, p := range h.host.all() {
			d := p.NextDeadline()
			leased := d != space.Never
			if p.Building() || leased && d <= l.now(id) || l.rounds%clockEvery == 0 && (leased || p.Status().Answers > 0) {
				due = append(due, systemCommand{id, space.TickCommand()})
			}
		}
	})
	if err != nil {
		return err
	}
	return h.order(ctx, l, due)
}
