package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	// takeoverTime is how long the others may take until all that a dead leader
	// led is served again.
	takeoverTime = 20 * time.Second
	// goneTime is how long a member stays away after that.
	goneTime = time.Second
)

// leaderKiller kills members that lead, one after the other, and starts them
// again. It counts a kill if the member said just before that it served groups, if
// it died of it, and if others then served all of these in a later term.
type leaderKiller struct {
	work   *work
	killed int
	gaps   []time.Duration // from each kill until all was served again
}

// run kills until ctx ends or a member does not come back, and leaves all members
// running.
func (k *leaderKiller) run(ctx, whole context.Context) error {
	last := ""
	for {
		begun := time.Now()
		led, err := k.work.cluster.AwaitSpread(whole, 1)
		if err != nil {
			return err
		}
		if !sleep(ctx, k.work.flags.killEvery/4) { // a little work before each kill
			return nil
		}
		victim := k.choose(led, last)
		last = victim.Name()
		if err := k.strike(whole, victim); err != nil {
			return err
		}
		if !sleep(ctx, time.Until(begun.Add(k.work.flags.killEvery))) {
			return nil
		}
	}
}

// choose takes the member that leads most, but not the same one twice if others
// lead too.
func (k *leaderKiller) choose(led map[string][]int, last string) *lab.Member {
	if len(led) > 1 {
		delete(led, last)
	}
	return k.work.cluster.Busiest(led)
}

// strike kills a member, waits until others lead what it led, and starts it again.
func (k *leaderKiller) strike(ctx context.Context, victim *lab.Member) error {
	terms, err := serving(ctx, victim)
	if err != nil {
		return fmt.Errorf("ask member %s what it leads: %w", victim.Name(), err)
	}
	dead := victim.Process()
	at := time.Now()
	victim.Kill()
	if len(terms) > 0 && dead.Killed() {
		err := lab.Poll(ctx, takeoverTime, "wait for other leaders", func(ctx context.Context) error { return k.takenOver(ctx, victim, terms) })
		if err != nil {
			return err
		}
		k.killed++
		k.gaps = append(k.gaps, time.Since(at))
		k.work.sayf("kill -9 %d: member %s, which led groups %v; others lead them %s later", dead.PID(), victim.Name(), slices.Sorted(maps.Keys(terms)), time.Since(at).Round(time.Millisecond))
	}
	sleep(ctx, goneTime)
	if err := victim.Start(); err != nil {
		return err
	}
	return k.work.cluster.AwaitReady(ctx)
}

// serving returns the groups that a member serves, with the terms.
func serving(ctx context.Context, m *lab.Member) (map[int]uint64, error) {
	var s lab.Status
	if err := m.Ask(ctx, "status", &s); err != nil {
		return nil, err
	}
	terms := map[int]uint64{}
	for _, g := range s.Groups {
		if g.Serving && g.Group != 0 {
			terms[g.Group] = g.Term
		}
	}
	return terms, nil
}

// takenOver returns an error while a group of a dead member is not served by
// another one in a later term.
func (k *leaderKiller) takenOver(ctx context.Context, dead *lab.Member, terms map[int]uint64) error {
	served := map[int]uint64{}
	for _, m := range k.work.cluster.All() {
		if m == dead {
			continue
		}
		theirs, err := serving(ctx, m)
		if err != nil {
			return err
		}
		for g, term := range theirs {
			served[g] = max(served[g], term)
		}
	}
	for g, term := range terms {
		if served[g] <= term {
			return fmt.Errorf("group %d was led in term %d and is in term %d", g, term, served[g])
		}
	}
	return nil
}

// longest returns the longest gap.
func (k *leaderKiller) longest() time.Duration {
	if len(k.gaps) == 0 {
		return 0
	}
	return slices.Max(k.gaps)
}
