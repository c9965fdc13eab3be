package replica_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// believer is a cluster whose leader goes on believing in itself for as long as
// raft allows.
func believer(t *testing.T, seed uint64) *cluster {
	c := newCluster(t, seed, true)
	c.adjust = func(cfg *replica.GroupConfig) { cfg.Timing.Lease = 500 * time.Millisecond }
	return c
}

// A leader that is cut off confirms nothing, from the moment at which it is cut
// off: neither while it believes in itself, nor once another leads.
func TestCutLeaderNeverConfirms(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 1)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		term, _ := leader.group.Leading()
		for name := range c.members {
			c.net.Cut(leader.name, name)
		}
		began, stillLed := time.Now(), 0
		for time.Since(began) < 5*time.Second {
			if now, ok := leader.group.Leading(); ok && now == term {
				stillLed++
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err := leader.group.Confirm(ctx, term)
			cancel()
			if !errors.Is(err, replica.ErrIndeterminate) && !errors.Is(err, replica.ErrNotLeader) {
				t.Fatalf("confirm after %v: %v", time.Since(began), err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if stillLed == 0 {
			t.Error("the leader never believed in itself: nothing was tested")
		}
	})
}

// Answers that were on their way when the leader was deposed do not count: what
// they say was true before the question.
func TestLateAnswersConfirmNothing(t *testing.T) {
	for late := 20 * time.Millisecond; late <= 220*time.Millisecond; late += 20 * time.Millisecond {
		simulate(t, func(t *testing.T) {
			c := believer(t, uint64(late))
			defer c.close()
			threeMembers(t, c)
			leader := c.leader()
			term, _ := leader.group.Leading()
			var to *groupMember
			for _, m := range c.members {
				if m != leader {
					to = m
				}
			}
			// From here on the leader learns everything late, heartbeats' answers
			// and the new term among it.
			stop := make(chan struct{})
			var wrote atomic.Bool
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						written := wrote.Load() // before the read
						value := leader.sm.read("k")
						if err := leader.group.Confirm(t.Context(), term); err == nil && written && value != "new" {
							t.Errorf("late by %v: confirmed %q after another leader had answered a write", late, value)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			for name := range c.members {
				if name != leader.name {
					c.net.Delay(name, leader.name, late)
				}
			}
			time.Sleep(50 * time.Millisecond)
			asking.Go(func() {
				for !wrote.Load() {
					// It may fail, with everything being so late.
					_ = leader.group.Transfer(t.Context(), to.id)
					time.Sleep(100 * time.Millisecond)
				}
			})
			c.until("another leader has answered a write", func() bool {
				for _, m := range c.members {
					if m == leader {
						continue
					}
					if _, err := m.group.Propose(t.Context(), []byte("k=new")); err == nil {
						return true
					}
				}
				return false
			})
			wrote.Store(true)
			time.Sleep(2 * time.Second)
			close(stop)
			asking.Wait()
		})
	}
}

// Learners do not count: a leader that only a learner can hear confirms nothing,
// and one that every voter hears needs no learner.
func TestLearnersDoNotConfirm(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 2)
		defer c.close()
		threeMembers(t, c)
		for _, name := range []string{"d", "e", "f"} {
			m := c.start(name, 1, nil)
			if err := c.leader().group.AddLearner(t.Context(), m.id); err != nil {
				t.Fatal(err)
			}
			c.until("a learner is caught up", func() bool { return c.leader().group.CaughtUp(m.id) })
		}
		leader := c.leader()
		term, _ := leader.group.Leading()
		for _, name := range []string{"d", "e", "f"} {
			c.net.Cut(leader.name, name)
		}
		if err := leader.group.Confirm(t.Context(), term); err != nil {
			t.Errorf("without the learners: %v", err)
		}
		for _, name := range []string{"a", "b", "c"} {
			c.net.Cut(leader.name, name)
		}
		for _, name := range []string{"d", "e", "f"} {
			c.net.Heal(leader.name, name)
		}
		time.Sleep(10 * time.Millisecond)
		if err := leader.group.Confirm(t.Context(), term); err == nil {
			t.Error("confirmed by learners")
		}
	})
}

// The only voter confirms at once, learners or not, and only for the term in
// which it leads.
func TestSingleVoterConfirmsAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 3)
		defer c.close()
		a := c.start("a", 1, nil)
		if err := a.group.Confirm(t.Context(), 0); !errors.Is(err, replica.ErrNotLeader) {
			t.Errorf("before it leads: %v", err)
		}
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		c.leader()
		b := c.start("b", 1, nil)
		if err := a.group.AddLearner(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		c.net.Cut("a", "b")
		term, _ := a.group.Leading()
		began := time.Now()
		if err := a.group.Confirm(t.Context(), term); err != nil || time.Since(began) > 0 {
			t.Errorf("confirm: %v after %v", err, time.Since(began))
		}
		if err := a.group.Confirm(t.Context(), term-1); !errors.Is(err, replica.ErrNotLeader) {
			t.Errorf("confirm of an earlier term: %v", err)
		}
	})
}

// A replica that led, was deposed and leads again does not confirm what was read
// in its first term.
func TestConfirmIsBoundToTheTermOfTheRead(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 4)
		defer c.close()
		threeMembers(t, c)
		first := c.leader()
		term, _ := first.group.Leading()
		for _, m := range c.members {
			if m != first {
				if err := first.group.Transfer(t.Context(), m.id); err != nil {
					t.Fatal(err)
				}
				c.until("the other leads", func() bool { return m.journal.leads() > 0 })
				if err := m.group.Transfer(t.Context(), first.id); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		c.until("it leads again", func() bool { return first.journal.leads() > term })
		if err := first.group.Confirm(t.Context(), term); !errors.Is(err, replica.ErrNotLeader) {
			t.Errorf("confirm of the first term: %v", err)
		}
		if err := first.group.Confirm(t.Context(), first.journal.leads()); err != nil {
			t.Errorf("confirm of the present term: %v", err)
		}
	})
}

// Readers that come while a round is on its way share the next one.
func TestReadersShareRounds(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := believer(t, 5)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		term, _ := leader.group.Leading()
		for name := range c.members {
			c.net.Delay(leader.name, name, 5*time.Millisecond)
			c.net.Delay(name, leader.name, 5*time.Millisecond)
		}
		asked := c.confirms.Load()
		var readers sync.WaitGroup
		began := time.Now()
		for range 500 {
			readers.Go(func() {
				if err := leader.group.Confirm(t.Context(), term); err != nil {
					t.Error(err)
				}
			})
		}
		readers.Wait()
		if took := time.Since(began); took > 25*time.Millisecond {
			t.Errorf("500 readers took %v over links of 5 ms", took)
		}
		time.Sleep(time.Second)
		if asked = c.confirms.Load() - asked; asked > 6 {
			t.Errorf("two voters were asked %d times", asked)
		}
	})
}
