package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
)

// askTime bounds one question to one member.
const askTime = 2 * time.Second

// Member is one member of a lab. Its methods may be called concurrently.
type Member struct {
	lab   *Lab
	index int
	name  string
	addresses
	command []string // subcommand and flags
	disk    *disk    // nil: none of its own

	turn    sync.Mutex // held while the process is started
	current atomic.Pointer[Process]

	asking sync.Mutex
	grid   *grid.Grid // a connection to ask it about itself; nil until then
}

// plan makes the command line.
func (m *Member) plan(seeds string) {
	c := &m.lab.config
	m.command = append(slices.Clone(c.Command),
		"--name", m.name, "--dir", m.Dir(), "--listen", m.peer, "--gossip", m.gossip,
		"--join", seeds, "--expect", strconv.Itoa(c.Members), "--clock", m.clock())
	if m.ip != "" {
		m.command = append(m.command, "--source", m.ip)
	}
	resp, http := "-", "-"
	if c.Doors {
		resp, http = m.resp, m.http
	}
	m.command = append(m.command, "--resp", resp, "--http", http)
	m.command = append(m.command, c.Flags...)
}

// Name returns the member's name: m1, m2 and so on.
func (m *Member) Name() string { return m.name }

// Index returns its place among the members, counted from 0.
func (m *Member) Index() int { return m.index }

// Addr returns its address for other members and remote clients.
func (m *Member) Addr() string { return m.peer }

// IP returns the address that it alone has and sends from, "" outside of a private
// network.
func (m *Member) IP() string { return m.ip }

// place is where its disk is mounted, and a folder if it has none.
func (m *Member) place() string { return filepath.Join(m.lab.config.Folder, m.name) }

// Dir returns its data folder. Nothing else is in it.
func (m *Member) Dir() string { return filepath.Join(m.place(), "data") }

// LogDir returns the folder in which its agreement rests.
func (m *Member) LogDir() string { return filepath.Join(m.Dir(), "raft") }

// StoreDir returns the folder in which its record rests.
func (m *Member) StoreDir() string { return filepath.Join(m.Dir(), "store") }

func (m *Member) clock() string { return filepath.Join(m.lab.config.Folder, m.name+".clock") }

// SetClock makes the member's wall clock wrong by an offset, from now on.
func (m *Member) SetClock(offset time.Duration) error {
	fresh := m.clock() + ".new"
	if err := os.WriteFile(fresh, []byte(offset.String()+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, m.clock())
}

// Process returns its latest process, nil before the first.
func (m *Member) Process() *Process { return m.current.Load() }

// Running reports whether its process is there, frozen or not.
func (m *Member) Running() bool {
	p := m.Process()
	return p != nil && p.Running()
}

// PID returns the number of its latest process, 0 before the first.
func (m *Member) PID() int {
	if p := m.Process(); p != nil {
		return p.PID()
	}
	return 0
}

// State says in a word whether it runs.
func (m *Member) State() string {
	switch p := m.Process(); {
	case p == nil:
		return "not started"
	case p.Running():
		return "up"
	case p.Killed():
		return "killed"
	}
	return "stopped"
}

// Start starts the member if it does not run, with more flags this time if wanted.
// It does not wait for it.
func (m *Member) Start(more ...string) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if m.Running() {
		return nil
	}
	if m.disk != nil && !m.disk.mounted.Load() {
		return fmt.Errorf("lab: the disk of %s is not mounted", m.name)
	}
	if err := os.MkdirAll(m.Dir(), 0o755); err != nil {
		return err
	}
	c := &m.lab.config
	p, err := Start(m.name, filepath.Join(c.Folder, m.name+".log"), c.Env, slices.Concat([]string{c.Binary}, m.command, more)...)
	if err != nil {
		return err
	}
	m.lab.all.add(p)
	m.current.Store(p)
	return nil
}

// Stop asks the member to end and waits for it.
func (m *Member) Stop() error {
	m.hangUp()
	if p := m.Process(); p != nil && p.Running() {
		return p.Stop()
	}
	return nil
}

// Kill ends the member with SIGKILL and waits for it.
func (m *Member) Kill() {
	m.hangUp()
	if p := m.Process(); p != nil {
		p.Kill()
	}
}

// Died returns an error if the member has ended.
func (m *Member) Died() error {
	p := m.Process()
	switch {
	case p == nil:
		return fmt.Errorf("lab: member %s was never started", m.name)
	case p.Running():
		return nil
	}
	return fmt.Errorf("lab: member %s ended: %w: %s", m.name, errors.Join(ErrEnded, p.err), p.Tail())
}

// ErrEnded is there because a process may end well when it should not end at all.
var ErrEnded = errors.New("it was to go on")

// Flag returns the value that the member was given for a flag, "" if none.
func (m *Member) Flag(name string) string {
	if i := slices.Index(m.command, name); i >= 0 && i+1 < len(m.command) {
		return m.command[i+1]
	}
	return ""
}

// Ask puts a question about itself to the member and nobody else: status,
// partitions, pump and so on. It blocks for two seconds at most. Concurrent
// questions wait for each other.
func (m *Member) Ask(ctx context.Context, what string, into any) error {
	return m.service(ctx, func(ctx context.Context, svc cluster.Service) error {
		b, err := svc.Inspect(ctx, what)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, into)
	})
}

// HandOver asks the member to let another one lead a group; 0 is the control
// group.
func (m *Member) HandOver(ctx context.Context, group int) error {
	return m.service(ctx, func(ctx context.Context, svc cluster.Service) error {
		return svc.HandOver(ctx, cluster.GroupID(group))
	})
}

func (m *Member) service(ctx context.Context, do func(context.Context, cluster.Service) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m.asking.Lock()
	defer m.asking.Unlock()
	if m.grid == nil {
		g, err := grid.DialWith(ctx, m.lab.dialer(ownSource), m.peer)
		if err != nil {
			return err
		}
		m.grid = g
	}
	svc, err := m.grid.Router().Member(ctx, cluster.MemberID(m.name))
	if err != nil {
		return err
	}
	return do(ctx, svc)
}

// hangUp closes the connection for questions.
func (m *Member) hangUp() {
	m.asking.Lock()
	defer m.asking.Unlock()
	if m.grid != nil {
		// It was for reading only: nothing is lost with it.
		_ = m.grid.Close()
		m.grid = nil
	}
}
