package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
)

const (
	// readyTime is how long members may take to form a cluster, or one of them to
	// come back.
	readyTime = 30 * time.Second
	// askTime bounds one question to one member.
	askTime = 2 * time.Second
	askPoll = 50 * time.Millisecond
)

// localMember is one member process of a cluster on this machine.
type localMember struct {
	name    string
	dir     string
	peer    string
	gossip  string
	command []string // subcommand and flags
	current atomic.Pointer[child]
	asking  *grid.Grid // a connection to ask it about itself; nil until then
}

// storeDir is where the member's record rests, for readers from outside.
func (m *localMember) storeDir() string { return filepath.Join(m.dir, "store") }

// process is the member's latest process.
func (m *localMember) process() *child { return m.current.Load() }

// state says in a word whether it runs.
func (m *localMember) state() string {
	switch c := m.process(); {
	case c == nil:
		return "not started"
	case c.running():
		return "up"
	case c.killed():
		return "killed"
	}
	return "stopped"
}

// logDir is where its agreement rests.
func (m *localMember) logDir() string { return filepath.Join(m.dir, "raft") }

// localCluster is member processes on the loopback interface, with their data
// under one folder.
type localCluster struct {
	folder  string
	members []*localMember
	all     children
}

// newLocalCluster plans n members; none is started. Each runs the given
// subcommand with extra flags after the usual ones; doors lists the flags of doors
// that get an address each.
func newLocalCluster(ctx context.Context, folder string, n int, subcommand []string, doors []string, extra ...string) (*localCluster, error) {
	ports := 2 + len(doors)
	addrs, err := freePorts(ctx, ports*n)
	if err != nil {
		return nil, err
	}
	var gossip []string
	for i := range n {
		gossip = append(gossip, addrs[ports*i+1])
	}
	lc := &localCluster{folder: folder}
	for i := range n {
		own := addrs[ports*i : ports*(i+1)]
		m := &localMember{name: "m" + strconv.Itoa(i+1), peer: own[0], gossip: own[1]}
		m.dir = filepath.Join(folder, m.name)
		m.command = append(append([]string{}, subcommand...),
			"--name", m.name, "--dir", m.dir, "--listen", m.peer, "--gossip", m.gossip,
			"--join", strings.Join(gossip, ","), "--expect", strconv.Itoa(n))
		for j, door := range doors {
			m.command = append(m.command, door, own[2+j])
		}
		m.command = append(m.command, extra...)
		lc.members = append(lc.members, m)
	}
	return lc, nil
}

// flag returns the value that a member was given for a flag.
func (m *localMember) flag(name string) string {
	for i, arg := range m.command {
		if arg == name && i+1 < len(m.command) {
			return m.command[i+1]
		}
	}
	return ""
}

// start starts a member that does not run, with more flags this time if wanted.
func (lc *localCluster) start(m *localMember, more ...string) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	c, err := startChild(m.name, filepath.Join(lc.folder, m.name+".log"), slices.Concat(m.command, more)...)
	if err != nil {
		return err
	}
	m.current.Store(lc.all.add(c))
	return nil
}

func (lc *localCluster) startAll() error {
	for _, m := range lc.members {
		if err := lc.start(m); err != nil {
			return err
		}
	}
	return nil
}

// stopAll asks all members to stop, at once, and waits for them.
func (lc *localCluster) stopAll() error {
	errs := make(chan error, len(lc.members))
	for _, m := range lc.members {
		go func() { errs <- m.process().stop() }()
	}
	var err error
	for range lc.members {
		err = errors.Join(err, <-errs)
	}
	lc.hangUp()
	return err
}

// hangUp closes the connections for questions.
func (lc *localCluster) hangUp() {
	for _, m := range lc.members {
		m.hangUp()
	}
}

func (m *localMember) hangUp() {
	if m.asking != nil {
		// It was for reading only: nothing is lost with it.
		_ = m.asking.Close()
		m.asking = nil
	}
}

// kill ends the member's process with SIGKILL.
func (m *localMember) kill() {
	m.process().kill()
	m.hangUp()
}

// end ends everything, whatever state it is in.
func (lc *localCluster) end() {
	lc.hangUp()
	lc.all.end()
}

// addrs are the members' addresses for clients.
func (lc *localCluster) addrs() []string {
	var all []string
	for _, m := range lc.members {
		all = append(all, m.peer)
	}
	return all
}

// errEnded is there because a process may end well when it should not end at all.
var errEnded = errors.New("it was to go on")

// died returns an error if a member has ended that should be running.
func (lc *localCluster) died() error {
	for _, m := range lc.members {
		if !m.process().running() {
			return fmt.Errorf("member %s ended by itself: %w: %s", m.name, errors.Join(errEnded, m.process().err), m.process().tail())
		}
	}
	return nil
}

// ask puts a question about itself to one member and nobody else.
func (m *localMember) ask(ctx context.Context, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if m.asking == nil {
		g, err := grid.Dial(ctx, m.peer)
		if err != nil {
			return err
		}
		m.asking = g
	}
	svc, err := m.asking.Router().Member(ctx, cluster.MemberID(m.name))
	if err != nil {
		return err
	}
	b, err := svc.Inspect(ctx, what)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// memberStatus is what a member says of itself.
type memberStatus struct {
	Version uint64        `json:"version"` // of what the cluster has agreed on, as far as the member knows
	Formed  bool          `json:"formed"`
	Ready   bool          `json:"ready"`
	Entries int           `json:"entries"`
	Groups  []groupStatus `json:"groups"`
}

type groupStatus struct {
	Group   int    `json:"group"` // 0 is the control group
	Serving bool   `json:"serving"`
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"`
	Last    uint64 `json:"last"`
}

// partitionStatus is a member's own replica of one partition.
type partitionStatus struct {
	Partition int    `json:"partition"`
	History   string `json:"history"`
	Seq       uint64 `json:"seq"`
}

// poll repeats a question until it is answered with yes. The error of the last
// no is part of the error when time is up.
func poll(ctx context.Context, within time.Duration, what string, yes func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := yes(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, within, err)
		case <-time.After(askPoll):
		}
	}
}

// awaitReady waits until every member says that it is ready and every group is
// led.
func (lc *localCluster) awaitReady(ctx context.Context) error {
	return poll(ctx, readyTime, "wait for the members", func(ctx context.Context) error {
		if err := lc.died(); err != nil {
			return err
		}
		_, err := lc.leaders(ctx)
		return err
	})
}

// leaders returns who leads which groups by its own word; the error says what is
// missing for all groups to be led and all members to be ready.
func (lc *localCluster) leaders(ctx context.Context) (map[string][]int, error) {
	led := map[string][]int{}
	groups, serving := map[int]bool{}, map[int]bool{}
	versions := map[uint64]bool{}
	for _, m := range lc.members {
		var s memberStatus
		if err := m.ask(ctx, "status", &s); err != nil {
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

// awaitSpread waits until at least so many members lead groups, and returns who
// leads what.
func (lc *localCluster) awaitSpread(ctx context.Context, leaders int) (led map[string][]int, err error) {
	err = poll(ctx, readyTime, "wait until leaders are spread", func(ctx context.Context) error {
		if led, err = lc.leaders(ctx); err != nil {
			return err
		}
		if len(led) < leaders {
			return fmt.Errorf("%d members lead groups", len(led))
		}
		return nil
	})
	return led, err
}

// awaitPump waits until every store has everything that its member has, and
// returns the sum of what was missing at the last look.
func (lc *localCluster) awaitPump(ctx context.Context, within time.Duration) (backlog uint64, err error) {
	err = poll(ctx, within, "wait for the pump", func(ctx context.Context) error {
		backlog = 0
		for _, m := range lc.members {
			var s grid.PumpStatus
			if err := m.ask(ctx, "pump", &s); err != nil {
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

// awaitAligned waits until every member's replica of every partition has the same
// last change.
func (lc *localCluster) awaitAligned(ctx context.Context, within time.Duration) error {
	return poll(ctx, within, "wait for the replicas", func(ctx context.Context) error {
		var first map[int]partitionStatus
		for _, m := range lc.members {
			var parts []partitionStatus
			if err := m.ask(ctx, "partitions", &parts); err != nil {
				return fmt.Errorf("member %s: %w", m.name, err)
			}
			if len(parts) == 0 {
				return fmt.Errorf("member %s holds nothing", m.name)
			}
			own := make(map[int]partitionStatus, len(parts))
			for _, p := range parts {
				own[p.Partition] = p
			}
			if first == nil {
				first = own
			}
			for id, p := range first {
				if own[id] != p {
					return fmt.Errorf("partition %d is at change %d on %s and at %d on %s", id, p.Seq, lc.members[0].name, own[id].Seq, m.name)
				}
			}
		}
		return nil
	})
}

// busiest returns the member that leads the most groups.
func (lc *localCluster) busiest(led map[string][]int) *localMember {
	best := lc.members[0]
	for _, m := range lc.members {
		if len(led[m.name]) > len(led[best.name]) {
			best = m
		}
	}
	return best
}

// states says of each member in a word whether it runs.
func (lc *localCluster) states() []string {
	words := make([]string, len(lc.members))
	for i, m := range lc.members {
		words[i] = m.name + " " + m.state()
	}
	return words
}

// killAll sends SIGKILL to all members and does not wait in between.
func (lc *localCluster) killAll() {
	for _, m := range lc.members {
		// The one error there can be is that it has ended already.
		_ = m.process().cmd.Process.Kill()
	}
}

// awaitEnd waits until all members have ended.
func (lc *localCluster) awaitEnd() {
	for _, m := range lc.members {
		<-m.process().ended
	}
	lc.hangUp()
}
