package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// DefaultDiskBytes is the size of a member's file system: what a store wants to
	// be free on it before it opens, and as much again for some minutes of load. Its
	// image is sparse.
	DefaultDiskBytes = 1 << 30
	// maxMembers bounds a lab: addresses are made from one byte.
	maxMembers = 100
)

// Config says what kind of lab [Open] makes.
type Config struct {
	// Folder keeps the members' folders, logs and disk images. It must exist.
	Folder string
	// Binary is the program under test; default: this program.
	Binary string
	// Command is the subcommand that runs a member; default: serve.
	Command []string
	// Members is how many there are, 1 to 100.
	Members int
	// Doors gives the members doors for Redis and HTTP clients.
	Doors bool
	// Flags are given to every member after those that the lab gives.
	Flags []string
	// Env is added to the environment of every member, as name=value.
	Env []string
	// DiskBytes is the size of each member's own file system, where it can have
	// one. 0: DefaultDiskBytes; negative: none.
	DiskBytes int64
	// Logger gets a line for what could not be had; nil discards it.
	Logger *slog.Logger
}

// Lab is a cluster of member processes. Its methods may be called concurrently.
type Lab struct {
	config  Config
	private bool // inside of namespaces of its own
	members []*Member
	rights  Rights
	all     processes
	holds   holds
}

// Open plans the members and makes their disks. None is started. What it has made
// goes with End.
func Open(ctx context.Context, c Config) (*Lab, error) {
	if c.Members < 1 || c.Members > maxMembers {
		return nil, fmt.Errorf("lab: %d members (choose 1 to %d)", c.Members, maxMembers)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Command) == 0 {
		c.Command = []string{"serve"}
	}
	if c.DiskBytes == 0 {
		c.DiskBytes = DefaultDiskBytes
	}
	var err error
	if c.Binary == "" {
		if c.Binary, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	l := &Lab{config: c, private: inside() == nil, rights: possible()}
	addrs, err := l.addresses(ctx)
	if err != nil {
		return nil, err
	}
	var seeds []string
	for _, a := range addrs {
		seeds = append(seeds, a.gossip)
	}
	for i, a := range addrs {
		m := &Member{lab: l, index: i, name: "m" + strconv.Itoa(i+1), addresses: a}
		m.plan(strings.Join(seeds, ","))
		l.members = append(l.members, m)
	}
	err = l.furnish(ctx)
	return l, err
}

// addresses are those of one member.
type addresses struct {
	ip                       string // "" outside of a private network
	resp, http, peer, gossip string
}

// Ports of a member in a private network, where every member has an address.
const (
	portRESP   = 7379
	portHTTP   = 7380
	PortPeer   = 7381 // members and remote clients
	PortGossip = 7382
)

// PeerIP is the address of a member, counted from 0, in a private network.
func PeerIP(i int) string { return "127.0.1." + strconv.Itoa(i+1) }

func (l *Lab) addresses(ctx context.Context) ([]addresses, error) {
	all := make([]addresses, l.config.Members)
	if l.private {
		for i := range all {
			ip := PeerIP(i)
			at := func(port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }
			all[i] = addresses{ip: ip, resp: at(portRESP), http: at(portHTTP), peer: at(PortPeer), gossip: at(PortGossip)}
		}
		return all, nil
	}
	const each = 4
	free, err := FreePorts(ctx, each*len(all))
	for i := range all {
		if err == nil {
			own := free[each*i:]
			all[i] = addresses{resp: own[0], http: own[1], peer: own[2], gossip: own[3]}
		}
	}
	return all, err
}

// furnish makes folders, clocks and disks. Where there can be no disks all members
// share the file system of the lab's folder.
func (l *Lab) furnish(ctx context.Context) error {
	for _, m := range l.members {
		if err := errors.Join(os.MkdirAll(m.place(), 0o755), m.SetClock(0)); err != nil {
			return err
		}
	}
	if l.config.DiskBytes < 0 && l.rights.Disk == "" {
		l.rights.Disk = "this lab was opened without disks"
	}
	if l.rights.Disk != "" {
		return nil
	}
	for _, m := range l.members {
		d := &disk{image: filepath.Join(l.config.Folder, m.name+".img"), at: m.place()}
		err := d.format(ctx, l.config.DiskBytes)
		if err == nil {
			err = d.mount(ctx)
		}
		if err != nil {
			l.config.Logger.Warn("members have no disks of their own", "err", err)
			l.rights.Disk = err.Error()
			return l.unfurnish()
		}
		m.disk = d
	}
	return nil
}

func (l *Lab) unfurnish() error {
	var err error
	for _, m := range l.members {
		if m.disk != nil {
			err = errors.Join(err, m.disk.unmount(context.Background()), os.Remove(m.disk.image))
			m.disk = nil
		}
	}
	return err
}

// Rights says what cannot be done in this lab.
func (l *Lab) Rights() Rights { return l.rights }

// Folder returns the lab's folder.
func (l *Lab) Folder() string { return l.config.Folder }

// Binary returns the program under test.
func (l *Lab) Binary() string { return l.config.Binary }

// Members returns how many members there are.
func (l *Lab) Members() int { return len(l.members) }

// Member returns a member, counted from 0.
func (l *Lab) Member(i int) *Member { return l.members[i] }

// All returns all members, in order. The caller must not change the slice.
func (l *Lab) All() []*Member { return l.members }

// Majority returns how many members are more than half.
func (l *Lab) Majority() int { return len(l.members)/2 + 1 }

// Start runs a program beside the members; it ends with the lab at the latest. Its
// standard error goes to a file of the lab's folder.
func (l *Lab) Start(name string, command ...string) (*Process, error) {
	p, err := Start(name, filepath.Join(l.config.Folder, name+".log"), nil, command...)
	if err == nil {
		l.all.add(p)
	}
	return p, err
}

// StartAll starts all members that do not run.
func (l *Lab) StartAll() error {
	for _, m := range l.members {
		if err := m.Start(); err != nil {
			return err
		}
	}
	return nil
}

// StopAll asks all members to stop, at once, and waits for them.
func (l *Lab) StopAll() error {
	errs := make(chan error, len(l.members))
	for _, m := range l.members {
		go func() { errs <- m.Stop() }()
	}
	var err error
	for range l.members {
		err = errors.Join(err, <-errs)
	}
	return err
}

// KillAll kills all members at once.
func (l *Lab) KillAll() { l.Kill(l.members...) }

// Kill sends SIGKILL to members without a wait in between, and then waits until all
// of them have ended.
func (l *Lab) Kill(members ...*Member) {
	for _, m := range members {
		if p := m.Process(); p != nil {
			// The one error there can be is that it has ended already.
			_ = p.cmd.Process.Kill()
		}
	}
	for _, m := range members {
		m.Kill()
	}
}

// Killed counts the processes of this lab that have ended by SIGKILL.
func (l *Lab) Killed() int { return l.all.killed() }

// End ends everything, whatever state it is in, and gives the disks back. The
// folder stays, with the logs and the images of the disks.
func (l *Lab) End() error {
	for _, m := range l.members {
		m.hangUp()
	}
	l.all.end()
	var err error
	for _, m := range l.members {
		if m.disk != nil {
			err = errors.Join(err, m.disk.unmount(context.Background()))
		}
	}
	return err
}
