package lab_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// started is a lab of three members that are ready.
func started(t *testing.T) *lab.Lab {
	t.Helper()
	l := labtest.Open(t, lab.Config{Members: 3, Doors: true, Flags: []string{"--partitions", "16"}})
	if err := l.StartAll(); err != nil {
		t.Fatal(err)
	}
	if err := l.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// A lab is a cluster as clients see it, and as its members say they are: doors
// answer, a member that dies is missed, one that comes back has everything.
func TestLab(t *testing.T) {
	l := started(t)
	ctx := t.Context()
	for i := range l.Members() {
		c, err := l.Conn(ctx, 3, l.Door("resp", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 7)
		if n, err := c.Read(b); err != nil || string(b[:n]) != "+PONG\r\n" {
			t.Errorf("%s answers %q, %v", l.Member(i).Name(), b[:n], err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	g, err := l.Dial(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m := l.Member(2)
	m.Kill()
	if err := l.AwaitReady(ctx); !errors.Is(err, lab.ErrEnded) {
		t.Errorf("with a dead member: %v", err)
	}
	if l.Killed() != 1 || m.State() != "killed" {
		t.Errorf("%d killed, %s", l.Killed(), l.States())
	}
	s, err := grid.OpenSpace[word](ctx, g, "words")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(ctx, word{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Start("--log-level", "debug"); err != nil {
		t.Fatal(err)
	}
	if err := l.AwaitSettled(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("sources", func(t *testing.T) { everybodyHasAnAddress(t, l) })
	t.Run("disks", func(t *testing.T) { everybodyHasADisk(t, l) })
	t.Run("clock", func(t *testing.T) { clocksAreWrong(t, l) })
	if err := l.StopAll(); err != nil {
		t.Error(err)
	}
}

type word struct {
	ID string `grid:"id,key"`
}

// Every connection leaves from the address of who made it: a member's from that of
// the member, a client's from that of the client. There is no other traffic.
func everybodyHasAnAddress(t *testing.T, l *lab.Lab) {
	if why := l.Rights().Network; why != "" {
		t.Skipf("no addresses of their own: %s", why)
	}
	peers := map[netip.Addr]map[netip.Addr]bool{} // by who connected
	for _, c := range connections(t) {
		if c.to.Port() == lab.PortPeer || c.to.Port() == lab.PortGossip {
			if peers[c.from.Addr()] == nil {
				peers[c.from.Addr()] = map[netip.Addr]bool{}
			}
			peers[c.from.Addr()][c.to.Addr()] = true
		}
	}
	for _, m := range l.All() {
		own := netip.MustParseAddr(m.IP())
		delete(peers[own], own)
		if len(peers[own]) == 0 {
			t.Errorf("%s has connected to nobody from %s", m.Name(), own)
		}
		delete(peers, own)
	}
	for from := range peers {
		if s := from.String(); s != "127.0.2.1" && s != "127.0.3.1" {
			t.Errorf("a connection came from %s, who is nobody", s)
		}
	}
}

type connection struct{ from, to netip.AddrPort }

// connections lists those that are established, from the end that asked.
func connections(t *testing.T) []connection {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const established = "01"
	var all []connection
	for _, line := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != established {
			continue
		}
		all = append(all, connection{kernelAddr(t, f[1]), kernelAddr(t, f[2])})
	}
	return all
}

// kernelAddr reads an address as the kernel shows it.
func kernelAddr(t *testing.T, s string) netip.AddrPort {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != 6 {
		t.Fatalf("address %q: %v", s, err)
	}
	var ip [4]byte
	binary.NativeEndian.PutUint32(ip[:], binary.BigEndian.Uint32(b))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), binary.BigEndian.Uint16(b[4:]))
}

// Every member has a file system, which its folder is on, and which can be mounted
// again only when nobody uses it.
func everybodyHasADisk(t *testing.T, l *lab.Lab) {
	if why := l.Rights().Disk; why != "" {
		t.Skipf("no disks of their own: %s", why)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l.All() {
		if !strings.Contains(string(mounts), " "+m.Disk()+" ext4 ") || !strings.HasPrefix(m.Dir(), m.Disk()) {
			t.Errorf("%s is not a file system of its own for %s", m.Disk(), m.Dir())
		}
	}
	if err := l.Member(0).Remount(t.Context()); err == nil {
		t.Error("the disk of a member that runs was mounted again")
	}
}

// A member tells the time by the clock that it is given, from the moment it is.
func clocksAreWrong(t *testing.T, l *lab.Lab) {
	for _, offset := range []time.Duration{time.Hour, -20 * 365 * 24 * time.Hour, 0} {
		if err := l.Member(1).SetClock(offset); err != nil {
			t.Fatal(err)
		}
		var s lab.Status
		if err := l.Member(1).Ask(t.Context(), "status", &s); err != nil {
			t.Fatal(err)
		}
		if off := time.Since(s.Wall) + offset; off.Abs() > time.Second {
			t.Errorf("with an offset of %s it is %s there", offset, s.Wall)
		}
	}
}

// No more members are held at a time than a cluster survives, unless all are.
func TestHold(t *testing.T) {
	l, err := lab.Open(t.Context(), lab.Config{Folder: t.TempDir(), Members: 5, DiskBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	held := func(err error) bool { return errors.As(err, new(*lab.HeldError)) }
	first, err := l.Hold(l.Member(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(l.Member(0)); !held(err) {
		t.Errorf("the same one again: %v", err)
	}
	if _, err := l.Hold(l.All()...); !held(err) {
		t.Errorf("all, while one is held: %v", err)
	}
	second, err := l.Hold(l.Member(4))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(l.Member(1)); !held(err) {
		t.Errorf("a third one of five: %v", err)
	}
	first()
	first() // once
	if _, err := l.Hold(l.Member(1)); err != nil {
		t.Errorf("after the first was released: %v", err)
	}
	second()
}

// A lab that cannot be had is refused with what to do.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]lab.Config{
		"no members":    {Folder: t.TempDir()},
		"too many":      {Folder: t.TempDir(), Members: 101},
		"folder a file": {Folder: filepath.Join(os.Args[0], "x"), Members: 1},
	} {
		if l, err := lab.Open(context.Background(), c); err == nil {
			t.Errorf("%s: %v", name, l)
		}
	}
}

// A process is seen to its end, whatever that is.
func TestProcess(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	run := func(script string) *lab.Process {
		p, err := lab.Start("script", log, []string{"WORD=hello"}, "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	if lines, err := run("echo $WORD; echo there").Output(t.Context()); err != nil || strings.Join(lines, " ") != "hello there" {
		t.Errorf("%q, %v", lines, err)
	}
	if _, err := run("echo no good >&2; exit 3").Output(t.Context()); err == nil || !strings.Contains(err.Error(), "no good") {
		t.Errorf("a bad end: %v", err)
	}
	polite := run("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	if err := errors.Join(polite.AwaitLine(t.Context(), "ready"), polite.Stop()); err != nil {
		t.Errorf("stopped: %v", err)
	}
	p := run("sleep 60")
	if p.Kill(); !p.Killed() || p.Running() {
		t.Error("it was not killed")
	}
	if p := run("cat; echo over"); p.Dismiss() != nil {
		t.Error("its input could not be closed")
	} else if lines, err := p.Output(t.Context()); err != nil || len(lines) != 1 {
		t.Errorf("it went on without input: %q, %v", lines, err)
	}
}
