package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

const (
	// readyTime is how long members may take to form a cluster, or one of them to
	// come back.
	readyTime = 30 * time.Second
	// settleTime is how long replicas, and then stores, may take until they have all
	// that there is.
	settleTime = 60 * time.Second
	askPoll    = 50 * time.Millisecond
)

// Status is what a member says of itself.
type Status struct {
	Version uint64        `json:"version"` // of what the cluster has agreed on, as far as the member knows
	Boot    uint64        `json:"boot"`
	Wall    time.Time     `json:"wall"` // by its own clock
	Formed  bool          `json:"formed"`
	Ready   bool          `json:"ready"`
	Entries int           `json:"entries"`
	Groups  []GroupStatus `json:"groups"`
}

// GroupStatus is what a member says of its replica of one group.
type GroupStatus struct {
	Group   int    `json:"group"` // 0 is the control group
	Serving bool   `json:"serving"`
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"`
	Last    uint64 `json:"last"`
	// Self is the identity of the replica, Voters those that vote as far as it knows.
	Self   string   `json:"self"`
	Voters []string `json:"voters"`
}

// PartitionStatus is a member's own replica of one partition.
type PartitionStatus struct {
	Partition int    `json:"partition"`
	History   string `json:"history"`
	Seq       uint64 `json:"seq"`
}

// Poll repeats a question until it is answered with yes. The error of the last no
// is part of the error when time is up.
func Poll(ctx context.Context, within time.Duration, what string, yes func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := yes(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: %s: not within %s: %w", what, within, err)
		case <-time.After(askPoll):
		}
	}
}

// Died returns an error if a member has ended that should be running.
func (l *Lab) Died() error {
	for _, m := range l.members {
		if err := m.Died(); err != nil {
			return err
		}
	}
	return nil
}

// AwaitReady waits until every member says that it is ready and every group is
// led. It fails at once if a member has ended.
func (l *Lab) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return Poll(ctx, readyTime, "wait for the members", func(ctx context.Context) error {
		if err := l.Died(); err != nil {
			cancel(err)
			return err
		}
		_, err := l.Leaders(ctx)
		return err
	})
}

// Leaders returns who leads which groups by its own word, the control group left
// out. The error says what is missing for all groups to be led and all members to
// be ready.
func (l *Lab) Leaders(ctx context.Context) (map[string][]int, error) {
	led := map[string][]int{}
	groups, serving := map[int]bool{}, map[int]bool{}
	versions := map[uint64]bool{}
	for _, m := range l.members {
		var s Status
		if err := m.Ask(ctx, "status", &s); err != nil {
			return nil, fmt.Errorf("member %s: %w", m.name, err)
		}
		if !s.Formed || !s.Ready {
			return nil, fmt.Errorf("member %s is not ready", m.name)
		}
		versions[s.Version] = true
		for _, g := range s.Groups {
			if g.Group == 0 {
				continue
			}
			groups[g.Group] = true
			if g.Serving {
				serving[g.Group] = true
				led[m.name] = append(led[m.name], g.Group)
			}
		}
	}
	if len(versions) > 1 {
		return nil, errors.New("the members do not know the same yet")
	}
	if len(groups) == 0 || len(serving) < len(groups) {
		return nil, fmt.Errorf("%d of %d groups are led", len(serving), len(groups))
	}
	return led, nil
}

// copies is how many replicas a group has, members permitting.
const copies = 3

// Whole returns nil if every member is ready and every group, the control group too,
// has all its votes, and they are with replicas that are there: then the loss of any
// one disk loses nothing.
func (l *Lab) Whole(ctx context.Context) error {
	if _, err := l.Leaders(ctx); err != nil {
		return err
	}
	present := map[string]bool{}
	voters := map[int][]string{} // by who serves the group
	for _, m := range l.members {
		var s Status
		if err := m.Ask(ctx, "status", &s); err != nil {
			return fmt.Errorf("member %s: %w", m.name, err)
		}
		for _, g := range s.Groups {
			present[fmt.Sprint(g.Group, " ", g.Self)] = true
			if g.Serving {
				voters[g.Group] = g.Voters
			}
		}
	}
	if _, led := voters[0]; !led {
		return errors.New("the control group is not led")
	}
	for group, ids := range voters {
		if len(ids) < min(copies, len(l.members)) {
			return fmt.Errorf("group %d has %d votes", group, len(ids))
		}
		for _, id := range ids {
			if !present[fmt.Sprint(group, " ", id)] {
				return fmt.Errorf("replica %s votes in group %d and is not there", id, group)
			}
		}
	}
	return nil
}

// AwaitWhole waits until Whole has nothing to say.
func (l *Lab) AwaitWhole(ctx context.Context) error {
	return Poll(ctx, readyTime, "wait for all replicas", l.Whole)
}

// Leading returns which groups each member leads, as far as members answer: those
// that do not are left out.
func (l *Lab) Leading(ctx context.Context) map[string][]int {
	type said struct {
		name string
		Status
		err error
	}
	answers := make(chan said, len(l.members))
	for _, m := range l.members {
		go func() {
			s := said{name: m.name}
			s.err = m.Ask(ctx, "status", &s.Status)
			answers <- s
		}()
	}
	led := map[string][]int{}
	for range l.members {
		s := <-answers
		for _, g := range s.Groups {
			if s.err == nil && g.Serving && g.Group != 0 {
				led[s.name] = append(led[s.name], g.Group)
			}
		}
	}
	return led
}

// AwaitSpread waits until at least so many members lead groups, and returns who
// leads what.
func (l *Lab) AwaitSpread(ctx context.Context, leaders int) (led map[string][]int, err error) {
	err = Poll(ctx, readyTime, "wait until leaders are spread", func(ctx context.Context) error {
		if led, err = l.Leaders(ctx); err != nil {
			return err
		}
		if len(led) < leaders {
			return fmt.Errorf("%d members lead groups", len(led))
		}
		return nil
	})
	return led, err
}

// AwaitPump waits until every store has everything that its member has, and
// returns the sum of what was missing at the last look.
func (l *Lab) AwaitPump(ctx context.Context, within time.Duration) (backlog uint64, err error) {
	err = Poll(ctx, within, "wait for the pump", func(ctx context.Context) error {
		backlog = 0
		for _, m := range l.members {
			var s grid.PumpStatus
			if err := m.Ask(ctx, "pump", &s); err != nil {
				return fmt.Errorf("member %s: %w", m.name, err)
			}
			if s.Sink == "" {
				return fmt.Errorf("member %s feeds no store", m.name)
			}
			backlog += s.BacklogChanges
		}
		if backlog > 0 {
			return fmt.Errorf("%d changes are not in the stores yet", backlog)
		}
		return nil
	})
	return backlog, err
}

// AwaitAligned waits until every member's replica of every partition has the same
// last change.
func (l *Lab) AwaitAligned(ctx context.Context, within time.Duration) error {
	return Poll(ctx, within, "wait for the replicas", func(ctx context.Context) error {
		var first map[int]PartitionStatus
		for _, m := range l.members {
			var parts []PartitionStatus
			if err := m.Ask(ctx, "partitions", &parts); err != nil {
				return fmt.Errorf("member %s: %w", m.name, err)
			}
			if len(parts) == 0 {
				return fmt.Errorf("member %s holds nothing", m.name)
			}
			own := make(map[int]PartitionStatus, len(parts))
			for _, p := range parts {
				own[p.Partition] = p
			}
			if first == nil {
				first = own
			}
			for id, p := range first {
				if own[id] != p {
					return fmt.Errorf("partition %d is at change %d on %s and at %d on %s", id, p.Seq, l.members[0].name, own[id].Seq, m.name)
				}
			}
		}
		return nil
	})
}

// AwaitSettled waits until all members are there with all replicas, have the same, and their stores
// have it too.
func (l *Lab) AwaitSettled(ctx context.Context) error {
	if err := l.AwaitReady(ctx); err != nil {
		return err
	}
	if err := l.AwaitWhole(ctx); err != nil {
		return err
	}
	if err := l.AwaitAligned(ctx, settleTime); err != nil {
		return err
	}
	_, err := l.AwaitPump(ctx, settleTime)
	return err
}

// Busiest returns the member that leads the most groups, by a map as Leaders
// returns it.
func (l *Lab) Busiest(led map[string][]int) *Member {
	best := l.members[0]
	for _, m := range l.members {
		if len(led[m.name]) > len(led[best.name]) {
			best = m
		}
	}
	return best
}

// States says of each member in a word whether it runs.
func (l *Lab) States() []string {
	words := make([]string, len(l.members))
	for i, m := range l.members {
		words[i] = m.name + " " + m.State()
	}
	return words
}
