package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// clock makes the wall clocks of some members wrong, ahead or behind. A strobe has
// them jump there and back ten times a second.
type clock struct {
	name   string
	offset time.Duration
	strobe bool
}

const (
	year        = 365 * 24 * time.Hour
	strobeEvery = 100 * time.Millisecond
)

func clocks() []Fault {
	return []Fault{
		clock{name: "clock-100ms", offset: 100 * time.Millisecond},
		clock{name: "clock-5s", offset: 5 * time.Second},
		clock{name: "clock-1h", offset: time.Hour},
		clock{name: "clock-20y", offset: 20 * year},
		clock{name: "clock-strobe", offset: 5 * time.Second, strobe: true},
	}
}

// Name implements Fault.
func (c clock) Name() string { return c.name }

// Missing implements Fault: it can be done anywhere.
func (clock) Missing(lab.Rights) string { return "" }

// Strike implements Fault.
func (c clock) Strike(ctx context.Context, l *lab.Lab, r *rand.Rand) (Injury, error) {
	return strike(ctx, func(j *injury) error {
		members := shuffled(l, r)
		members = members[:1+r.IntN(len(members))]
		offset := c.offset
		if r.IntN(2) == 0 {
			offset = -offset
		}
		j.later(func(context.Context) error {
			for _, m := range members {
				if err := m.SetClock(0); err != nil {
					return err
				}
			}
			return nil
		})
		for _, m := range members {
			if err := m.SetClock(offset); err != nil {
				return err
			}
			if err := c.verify(ctx, m, offset); err != nil {
				return err
			}
		}
		j.sayf("the clocks of %s are off by %s", names(members), offset)
		if c.strobe {
			j.strobe(members, offset)
			j.sayf("the clocks of %s jump by %s and back", names(members), offset)
		}
		return nil
	})
}

// verify asks a member for the time. One that does not run has its wrong clock when
// it starts.
func (c clock) verify(ctx context.Context, m *lab.Member, offset time.Duration) error {
	if !m.Running() || m.Frozen() == nil {
		return nil
	}
	err := lab.Poll(ctx, takeTime, "ask "+m.Name()+" for the time", func(ctx context.Context) error {
		var s lab.Status
		asked := time.Now()
		if err := m.Ask(ctx, "status", &s); err != nil {
			return err
		}
		low, high := asked.Add(offset), time.Now().Add(offset)
		if s.Wall.Before(low.Add(-time.Millisecond)) || s.Wall.After(high.Add(time.Millisecond)) {
			return fmt.Errorf("it is %s by its clock, and should be %s to %s", s.Wall, low, high)
		}
		return nil
	})
	if err != nil {
		return unverified(c.name, "%w", err)
	}
	return nil
}

// strobe has clocks jump until the injury is healed.
func (j *injury) strobe(members []*lab.Member, offset time.Duration) {
	stopping, stop := context.WithCancel(context.Background())
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		there := true
		for {
			sleep(stopping, strobeEvery)
			if stopping.Err() != nil {
				return
			}
			there = !there
			to := time.Duration(0)
			if there {
				to = offset
			}
			for _, m := range members {
				failed = errors.Join(failed, m.SetClock(to))
			}
		}
	})
	j.later(func(context.Context) error {
		stop()
		wg.Wait()
		once := failed
		failed = nil // it is told once, and the clocks are set again all the same
		return once
	})
}
