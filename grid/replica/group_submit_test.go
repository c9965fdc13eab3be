package replica_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// Commands that wait while an entry is on its way share the next one; a lone
// command waits for nobody.
func TestCommandsThatWaitShareAnEntry(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		m := threeMembers(t, c)
		leader := c.leader()
		for _, a := range m {
			for _, b := range m {
				c.net.Delay(a.name, b.name, 5*time.Millisecond)
			}
		}
		entriesBefore := leader.sm.carried()
		began := time.Now()
		if _, err := leader.group.Propose(t.Context(), []byte("lone=1")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 11*time.Millisecond {
			t.Errorf("a lone command took %v over links of 5 ms", took)
		}
		const commands = 3000
		var all sync.WaitGroup
		all.Add(commands)
		for i := range commands {
			leader.group.Submit(fmt.Appendf(nil, "k%d=v", i), func(_ []byte, err error) {
				if err != nil {
					t.Error(err)
				}
				all.Done()
			})
		}
		all.Wait()
		entries := leader.sm.carried()
		// The first goes alone, the others by 512.
		if entries -= entriesBefore; entries < 2+commands/512 || entries > 4+commands/512 {
			t.Errorf("%d commands in %d entries", commands, entries)
		}
		big := strings.Repeat("v", 100<<10)
		entriesBefore = leader.sm.carried()
		all.Add(9)
		for i := range 9 {
			leader.group.Submit(fmt.Appendf(nil, "k%d=%s", i, big), func([]byte, error) { all.Done() })
		}
		all.Wait()
		entries = leader.sm.carried()
		if entries -= entriesBefore; entries < 5 || entries > 6 {
			t.Errorf("9 commands of 100 KiB in %d entries; two fit into one", entries)
		}
	})
}

// The commands of one submitter are applied and answered in the order of Submit.
func TestSubmitKeepsOrder(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 5, true)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		var submitters sync.WaitGroup
		for s := range 4 {
			submitters.Go(func() {
				var answered sync.WaitGroup
				next := 0
				for i := range 1000 {
					answered.Add(1)
					leader.group.Submit(fmt.Appendf(nil, "s%d=%d", s, i+1), func(reply []byte, err error) {
						defer answered.Done()
						if before := string(reply); err != nil || i != next || i > 0 && before != fmt.Sprint(i) {
							t.Errorf("submitter %d: command %d answered at place %d, found %q, %v", s, i, next, before, err)
						}
						next++
					})
				}
				answered.Wait()
			})
		}
		submitters.Wait()
	})
}

// A replica that does not lead takes nothing up and says who does.
func TestFollowersRefuse(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 6, true)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		c.agree(nil)
		for _, m := range c.members {
			if m == leader {
				continue
			}
			_, err := m.group.Propose(t.Context(), []byte("k=v"))
			var notLeader *replica.NotLeaderError
			if !errors.Is(err, replica.ErrNotLeader) || !errors.As(err, &notLeader) || notLeader.Leader != leader.id {
				t.Errorf("propose at %v: %v, want a hint to %v", m.id, err, leader.id)
			}
			if err := m.group.Confirm(t.Context(), leader.journal.leads()); !errors.Is(err, replica.ErrNotLeader) {
				t.Errorf("confirm at %v: %v", m.id, err)
			}
			if err := m.group.AddLearner(t.Context(), replica.ServerID{Member: "x", Incarnation: 1}); !errors.Is(err, replica.ErrNotLeader) {
				t.Errorf("add a learner at %v: %v", m.id, err)
			}
			if err := m.group.Transfer(t.Context(), leader.id); !errors.Is(err, replica.ErrNotLeader) {
				t.Errorf("transfer at %v: %v", m.id, err)
			}
		}
		time.Sleep(time.Second)
		if leader.sm.read("k") != "" {
			t.Error("a refused command was applied")
		}
	})
}

// A command that a leader has appended when it loses the leadership has an
// unknown outcome: one such took effect here, the other did not.
func TestLostLeadershipLeavesOutcomesUnknown(t *testing.T) {
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprintf("others heard it=%v", heard), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c := newCluster(t, 7, true)
				defer c.close()
				threeMembers(t, c)
				leader := c.leader()
				for name := range c.members {
					c.net.CutOneWay(name, leader.name)
					if !heard {
						c.net.CutOneWay(leader.name, name)
					}
				}
				if _, err := leader.group.Propose(t.Context(), []byte("k=v")); !errors.Is(err, replica.ErrIndeterminate) {
					t.Fatalf("propose without a majority: %v", err)
				}
				if _, err := leader.group.Propose(t.Context(), []byte("l=v")); !errors.Is(err, replica.ErrNotLeader) {
					t.Fatalf("propose after losing the leadership: %v", err)
				}
				c.until("another member leads", func() bool { return c.leader() != leader })
				for name := range c.members {
					c.net.Heal(leader.name, name)
				}
				want := map[string]string{"k": "", "l": "", "m": "v"}
				if heard {
					want["k"] = "v"
				}
				c.write("m", "v")
				c.agree(want)
			})
		})
	}
}

// While the leadership is handed over, commands are refused or answered, and
// nothing that was answered is lost.
func TestTransferLosesNothing(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		want := map[string]string{}
		for i := range 10 {
			from := c.leader()
			var to *groupMember
			for _, m := range c.members {
				if m != from {
					to = m
				}
			}
			var all sync.WaitGroup
			for j := range 100 {
				all.Go(func() {
					time.Sleep(time.Duration(j) * 50 * time.Microsecond)
					name := fmt.Sprint("k", i, ".", j)
					_, err := from.group.Propose(t.Context(), []byte(name+"=v"))
					c.mu.Lock()
					defer c.mu.Unlock()
					switch {
					case err == nil:
						want[name] = "v"
					case errors.Is(err, replica.ErrNotLeader):
						want[name] = ""
					case !errors.Is(err, replica.ErrIndeterminate):
						t.Error(err)
					}
				})
			}
			began := time.Now()
			if err := from.group.Transfer(t.Context(), to.id); err != nil {
				t.Fatal(err)
			}
			c.until("the other leads", func() bool { return to.journal.leads() > 0 })
			if took := time.Since(began); took > 200*time.Millisecond {
				t.Errorf("handing over took %v", took)
			}
			all.Wait()
		}
		c.agree(want)
	})
}

// Every command is answered exactly once, whenever the group is closed; one that
// was refused has no effect, and one that was answered is in the log.
func TestCloseAnswersEverything(t *testing.T) {
	for after := range 12 {
		simulate(t, func(t *testing.T) {
			c := newCluster(t, uint64(after), true)
			defer c.close()
			threeMembers(t, c)
			leader := c.leader()
			for name := range c.members {
				c.net.Delay(leader.name, name, time.Millisecond)
				c.net.Delay(name, leader.name, time.Millisecond)
			}
			if after%4 == 3 { // nobody answers it any more
				for name := range c.members {
					c.net.CutOneWay(name, leader.name)
				}
			}
			var mu sync.Mutex
			answers := map[int][]error{}
			const commands = 2000
			go func() {
				for i := range commands {
					leader.group.Submit(fmt.Appendf(nil, "k%d=v", i), func(_ []byte, err error) {
						mu.Lock()
						defer mu.Unlock()
						answers[i] = append(answers[i], err)
					})
					if i%100 == 0 {
						time.Sleep(time.Millisecond / 2)
					}
				}
			}()
			time.Sleep(time.Duration(after) * time.Millisecond)
			began := time.Now()
			if err := leader.group.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("Close took %v", took)
			}
			if err := leader.group.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			delete(c.members, leader.name)
			c.wg.Go(leader.close)
			want := map[string]string{"end": "v"}
			for i := range commands {
				switch errs := answers[i]; {
				case len(errs) != 1:
					t.Fatalf("command %d was answered %d times: %v", i, len(errs), errs)
				case errs[0] == nil:
					want[fmt.Sprint("k", i)] = "v"
				case !errors.Is(errs[0], replica.ErrIndeterminate):
					want[fmt.Sprint("k", i)] = ""
				}
			}
			c.write("end", "v")
			c.agree(want)
		})
	}
}

// A group that cannot keep up refuses what exceeds its bounds, at once, and a
// command that could not be sent at all.
func TestSubmitIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 8, true)
		defer c.close()
		a := c.start("a", 1, nil)
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		c.leader()
		if _, err := a.group.Propose(t.Context(), make([]byte, replica.MaxCommandBytes+1)); !errors.Is(err, replica.ErrCommandTooLarge) {
			t.Errorf("too large a command: %v", err)
		}
		if _, err := a.group.Propose(t.Context(), []byte("big="+strings.Repeat("v", replica.MaxCommandBytes-4))); err != nil {
			t.Errorf("the largest command: %v", err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		refused, answered := 0, 0
		err := a.group.Inspect(t.Context(), func() { // Nothing is applied meanwhile.
			for range 1<<16 + 1000 {
				all.Add(1)
				a.group.Submit([]byte("k=v"), func(_ []byte, err error) {
					defer all.Done()
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						answered++
					case errors.Is(err, replica.ErrOverloaded):
						refused++
					default:
						t.Error(err)
					}
				})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if refused < 1 || refused > 1000 || answered+refused != 1<<16+1000 {
			t.Errorf("%d refused, %d answered", refused, answered)
		}
	})
}

// Propose ends with its context; the command may take effect all the same.
func TestProposeEndsWithItsContext(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 9, true)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		for name := range c.members {
			c.net.Delay(leader.name, name, 20*time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := leader.group.Propose(ctx, []byte("k=v"))
		if !errors.Is(err, replica.ErrIndeterminate) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("propose: %v", err)
		}
		c.agree(map[string]string{"k": "v"})
	})
}

// What Inspect sees lies between two entries, and WaitApplied returns once the
// entry is applied, on every replica.
func TestInspectAndWaitApplied(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 10, true)
		defer c.close()
		threeMembers(t, c)
		leader := c.leader()
		var writer sync.WaitGroup
		writer.Go(func() {
			for i := range 200 {
				c.write("k", fmt.Sprint(i))
			}
		})
		for range 200 {
			for _, m := range c.members {
				err := m.group.Inspect(t.Context(), func() {
					before, _ := m.sm.state()
					time.Sleep(time.Millisecond)
					if after, _ := m.sm.state(); after != before {
						t.Errorf("%v applied entry %d during Inspect", m.id, after)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		writer.Wait()
		index := leader.group.Applied()
		for _, m := range c.members {
			if err := m.group.WaitApplied(t.Context(), index); err != nil || m.sm.read("k") != "199" {
				t.Errorf("%v after WaitApplied: %q, %v", m.id, m.sm.read("k"), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := leader.group.WaitApplied(ctx, index+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for what never comes: %v", err)
		}
		if err := leader.group.Close(); err != nil {
			t.Fatal(err)
		}
		if err := leader.group.WaitApplied(t.Context(), index+1); !errors.Is(err, replica.ErrGroupClosed) {
			t.Errorf("wait in a closed group: %v", err)
		}
		if err := leader.group.AddLearner(t.Context(), replica.ServerID{Member: "x", Incarnation: 1}); !errors.Is(err, replica.ErrGroupClosed) {
			t.Errorf("change of a closed group: %v", err)
		}
		if err := leader.group.Found(); !errors.Is(err, replica.ErrGroupClosed) {
			t.Errorf("found a closed group: %v", err)
		}
		delete(c.members, leader.name)
		c.wg.Go(leader.close)
	})
}
