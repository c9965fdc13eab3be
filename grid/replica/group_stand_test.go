package replica_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// counts adds up over the members that are there.
func (c *cluster) counts() (early, elections, term uint64) {
	for _, m := range c.members {
		s := m.group.Status()
		early += s.Early
		elections += s.Elections
		term = max(term, s.Term)
	}
	return early, elections, term
}

// others returns the members beside one, by name.
func (c *cluster) others(m *groupMember) (others []*groupMember) {
	for _, o := range c.members {
		if o != m {
			others = append(others, o)
		}
	}
	slices.SortFunc(others, func(a, b *groupMember) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return others
}

// successor waits for a leader that serves, and returns it and how long that took.
func (c *cluster) successor(old *groupMember) (*groupMember, time.Duration) {
	c.t.Helper()
	began := time.Now()
	for time.Since(began) < 20*time.Second {
		for _, m := range c.members {
			if _, leads := m.group.Leading(); leads && m != old {
				return m, time.Since(began)
			}
		}
		time.Sleep(time.Millisecond)
	}
	c.t.Fatal("nobody leads")
	return nil, 0
}

// When the process of a leader dies, another leads within some milliseconds and
// after one election, and has what the dead one had answered.
func TestADeadLeaderIsReplacedAtOnce(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		c.write("k", "v")
		old := c.leader()
		_, elections, term := c.counts()
		elections -= old.group.Status().Elections
		c.crash(old)
		_, took := c.successor(old)
		if took > 50*time.Millisecond {
			t.Errorf("leaderless for %v", took)
		}
		early, now, after := c.counts()
		if early != 1 || now != elections+1 || after != term+1 {
			t.Errorf("%d early stands in %d elections, term %d after %d", early, now-elections, after, term)
		}
		c.write("k2", "v2")
		c.agree(map[string]string{"k": "v", "k2": "v2"})
	})
}

// A dying process may still accept connections when those that it had are gone.
func TestADyingListenerIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		accepts int // dials of each survivor that still succeed
		early   bool
	}{{"a little", 5, true}, {"for long", 1000, false}} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				cl := newCluster(t, 1, true)
				defer cl.close()
				threeMembers(t, cl)
				old := cl.leader()
				left := map[string]int{}
				cl.mu.Lock()
				for _, m := range cl.others(old) {
					left[m.name] = c.accepts
				}
				cl.mu.Unlock()
				cl.dial = func(ctx context.Context, from, to string, next wire.Dialer) (net.Conn, error) {
					cl.mu.Lock()
					defer cl.mu.Unlock()
					if to == old.name && left[from] > 0 {
						left[from]--
						here, there := net.Pipe()
						there.Close()
						return here, nil
					}
					return next(ctx, to)
				}
				cl.crash(old)
				_, took := cl.successor(old)
				if early, _, _ := cl.counts(); (early > 0) != c.early && took < 600*time.Millisecond || (took < 100*time.Millisecond) != c.early {
					t.Errorf("leaderless for %v, %d early stands", took, early)
				}
			})
		})
	}
}

// Connections of a living leader may break as often as they like.
func TestResetsDisturbNoLeader(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		leader := c.leader()
		_, elections, term := c.counts()
		for i := range 30 {
			for _, m := range c.others(leader) {
				c.net.Reset(leader.name, m.name)
			}
			c.write("k", fmt.Sprint(i))
			time.Sleep(time.Duration(c.rng.IntN(100)) * time.Millisecond)
		}
		if early, now, after := c.counts(); early != 0 || now != elections || after != term {
			t.Errorf("%d early stands, %d elections, term %d after %d", early, now-elections, after, term)
		}
	})
}

// What one follower alone sees of its leader unseats nobody: neither refusals of
// a firewall between the two nor silence.
func TestOneFollowerUnseatsNobody(t *testing.T) {
	for _, fault := range []string{"refused", "cut", "deaf"} {
		t.Run(fault, func(t *testing.T) {
			forEachDurability(t, func(t *testing.T, c *cluster) {
				threeMembers(t, c)
				leader := c.leader()
				one := c.others(leader)[0]
				_, _, term := c.counts()
				switch fault {
				case "refused":
					pair := []string{leader.name, one.name}
					c.dial = func(ctx context.Context, from, to string, next wire.Dialer) (net.Conn, error) {
						if slices.Contains(pair, from) && slices.Contains(pair, to) {
							return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
						}
						return next(ctx, to)
					}
					c.net.Reset(leader.name, one.name)
				case "cut":
					c.net.Cut(leader.name, one.name)
				case "deaf":
					c.net.CutOneWay(leader.name, one.name)
				}
				for range 50 {
					c.write("k", "v")
					time.Sleep(100 * time.Millisecond)
				}
				if early, _, after := c.counts(); early != 0 || after != term || leader.journal.leads() != term {
					t.Errorf("%d early stands, term %d after %d", early, after, term)
				}
			})
		})
	}
}

// Of two survivors the one whose log is longer stands, whatever its name.
func TestTheLongerLogStands(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		old := c.leader()
		behind, ahead := c.others(old)[0], c.others(old)[1]
		c.net.Cut(old.name, behind.name)
		c.write("k", "v")
		c.crash(old)
		c.net.Heal(old.name, behind.name)
		next, took := c.successor(old)
		if next != ahead || took > 50*time.Millisecond {
			t.Errorf("%s leads after %v, want %s at once", next.name, took, ahead.name)
		}
		if n := behind.group.Status().Elections; n != 0 {
			t.Errorf("the shorter log stood %d times", n)
		}
		c.agree(map[string]string{"k": "v"})
	})
}

// A leader that is paused or cut off is replaced when it has been silent for one
// and a half heartbeat timeouts, not when the last follower's timer fires.
func TestASilentLeaderIsReplacedInTime(t *testing.T) {
	for seed := range uint64(5) {
		simulate(t, func(t *testing.T) {
			c := newCluster(t, seed, true)
			defer c.close()
			threeMembers(t, c)
			old := c.leader()
			time.Sleep(time.Duration(c.rng.IntN(1000)) * time.Millisecond)
			_, _, term := c.counts()
			for _, m := range c.others(old) {
				c.net.Cut(old.name, m.name)
			}
			if _, took := c.successor(old); took > time.Second {
				t.Errorf("leaderless for %v", took)
			}
			if _, _, after := c.counts(); after != term+1 {
				t.Errorf("term %d after %d", after, term)
			}
			for _, m := range c.others(old) {
				c.net.Heal(old.name, m.name)
			}
			c.write("k", "v")
			c.agree(map[string]string{"k": "v"})
		})
	}
}

// Learners neither testify nor stand.
func TestLearnersDoNotStand(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 3, true)
		defer c.close()
		a := c.start("a", 1, nil)
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		c.leader()
		b := c.start("b", 1, nil)
		c.join(a, b)
		for _, name := range []string{"d", "e", "f"} {
			m := c.start(name, 1, nil)
			if err := c.leader().group.AddLearner(t.Context(), m.id); err != nil {
				t.Fatal(err)
			}
			c.until("a learner is caught up", func() bool { return c.leader().group.CaughtUp(m.id) })
		}
		c.crash(c.leader())
		time.Sleep(5 * time.Second)
		if early, _, _ := c.counts(); early != 0 {
			t.Errorf("%d early stands in a group without a majority of its voters", early)
		}
		for _, m := range c.members {
			if role := m.group.Status().Role; role == replica.Leader {
				t.Errorf("%s leads", m.name)
			}
		}
	})
}
