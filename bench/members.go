package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

const (
	// membersMax bounds a cluster to what one machine can tell something about.
	membersMax = 7
	// formTimeout bounds how long members may take until they serve.
	formTimeout = 30 * time.Second
	// attemptTimeout bounds one attempt to reach them.
	attemptTimeout = 2 * time.Second
)

// Member is what a member of a cluster to be measured is told, to keep
// everything in memory. All addresses are on loopback.
type Member struct {
	Name string
	// Listen is for other members and remote clients, Gossip for membership,
	// RESP and HTTP for the doors.
	Listen, Gossip, RESP, HTTP string
	// Seeds are the gossip addresses of the other members, and Expect how many
	// members form the cluster. A member alone has no seeds.
	Seeds  []string
	Expect int
}

// ServeArgs are the arguments that make the spacegrid binary such a member, with
// everything in memory.
func ServeArgs(m Member) []string {
	args := []string{
		"serve", "--durability", "memory", "--name", m.Name, "--expect", strconv.Itoa(m.Expect), "--log-level", "warn",
		"--listen", m.Listen, "--gossip", m.Gossip, "--resp", m.RESP, "--http", m.HTTP,
	}
	if len(m.Seeds) > 0 {
		args = append(args, "--join", strings.Join(m.Seeds, ","))
	}
	return args
}

// Start says how members come to be. The zero value runs them in this process.
type Start struct {
	// Program is a binary that serves as a member when it is started with the
	// arguments that Args makes. Empty: members run in this process, which
	// spares them a part of what processes cost; the report says so.
	Program string
	// Args makes the arguments. Default ServeArgs.
	Args func(Member) []string
}

// members are those that were started for a run.
type members struct {
	plans     []Member
	processes []*process
	grids     []*grid.Grid   // of the members in this process
	inside    []func() error // closes those, the doors first
}

// startMembers starts n members and returns when they serve. Close them after
// use.
func startMembers(ctx context.Context, s Start, n int) (*members, error) {
	if n < 1 || n > membersMax {
		return nil, fmt.Errorf("bench: %d members (give 1 to %d)", n, membersMax)
	}
	plans, err := planMembers(ctx, n)
	if err != nil {
		return nil, err
	}
	m := &members{plans: plans}
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	if s.Program == "" {
		err = m.startInside(ctx)
	} else {
		err = m.startProcesses(ctx, s)
	}
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// planMembers gives n members their names and addresses.
func planMembers(ctx context.Context, n int) ([]Member, error) {
	const ports = 4 // of one member
	addrs, err := freePorts(ctx, ports*n)
	if err != nil {
		return nil, err
	}
	plans := make([]Member, n)
	for i := range plans {
		a := addrs[ports*i:]
		plans[i] = Member{
			Name: fmt.Sprintf("member-%d", i+1), Listen: a[0], Gossip: a[1], RESP: a[2], HTTP: a[3], Expect: n,
		}
	}
	for i := range plans {
		for j := range plans {
			if j != i {
				plans[i].Seeds = append(plans[i].Seeds, plans[j].Gossip)
			}
		}
	}
	return plans, nil
}

func (m *members) startProcesses(ctx context.Context, s Start) error {
	if s.Args == nil {
		s.Args = ServeArgs
	}
	for _, plan := range m.plans {
		p, err := startProcess(plan.Name, s.Program, func(string) []string { return s.Args(plan) })
		if err != nil {
			return err
		}
		m.processes = append(m.processes, p)
	}
	for i, p := range m.processes {
		if err := p.await(ctx, func(ctx context.Context) error { return answers(ctx, m.plans[i].RESP) }); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether a member's door for Redis clients serves.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	c, err := dialRESP(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it was only asked
	_, err = c.call(ctx, "GET", "k")
	return err
}

// dial returns a handle from outside on the members. The caller closes it.
func (m *members) dial(ctx context.Context) (*grid.Grid, error) {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	addrs := make([]string, len(m.plans))
	for i := range m.plans {
		addrs[i] = m.plans[i].Listen
	}
	return grid.Dial(ctx, addrs...)
}

// pids returns the ids of the members' processes.
func (m *members) pids() []int {
	var pids []int
	for _, p := range m.processes {
		pids = append(pids, p.pid())
	}
	return pids
}

// where says how many members run, and how.
func (m *members) where() string {
	where := "in the measuring process"
	if len(m.processes) > 0 {
		where = "in a process of its own"
		if len(m.plans) > 1 {
			where = "in processes of their own"
		}
	}
	if len(m.plans) == 1 {
		return "one member, " + where
	}
	return fmt.Sprintf("%d members, %s", len(m.plans), where)
}

// close ends all members. It is safe to call twice.
func (m *members) close() error {
	var err error
	for _, p := range m.processes {
		err = errors.Join(err, p.stop())
	}
	for _, closeMember := range m.inside {
		err = errors.Join(err, closeMember())
	}
	return err
}
