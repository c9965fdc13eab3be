package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

var (
	failoverRounds = flag.Int("failover.rounds", 1, "how often a leader is killed and how often one is paused")
	failoverLogs   = flag.Bool("failover.logs", false, "print what the members log from a second before a fault on")
)

// memberEnv makes the test binary a member: its configuration as JSON.
const memberEnv = "SPACEGRID_TEST_MEMBER"

type memberProcess struct {
	Name   string         `json:"name"`
	Dir    string         `json:"dir"`
	Listen string         `json:"listen"`
	Gossip string         `json:"gossip"`
	Seeds  []string       `json:"seeds"`
	Timing replica.Timing `json:"timing"`

	cmd *exec.Cmd
	in  io.WriteCloser
}

// TestMemberProcess is a member in a process of its own, for the tests that start
// one; by itself it has nothing to do.
func TestMemberProcess(t *testing.T) {
	env := os.Getenv(memberEnv)
	if env == "" {
		return
	}
	var p memberProcess
	//nolint:musttag // the names of the fields of Timing do
	if err := json.Unmarshal([]byte(env), &p); err != nil {
		t.Fatal(err)
	}
	n, err := OpenNode(t.Context(), NodeConfig{
		Name: MemberID(p.Name), Dir: p.Dir, Listen: p.Listen, GossipAddr: p.Gossip, Seeds: p.Seeds, Expect: 3, Timing: p.Timing,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// processes are three members as processes of their own on loopback, and a client.
type processes struct {
	t       testing.TB
	dir     string
	members map[MemberID]*memberProcess
	router  *Router
}

func startProcesses(t testing.TB, timing replica.Timing) *processes {
	p := &processes{t: t, dir: t.TempDir(), members: map[MemberID]*memberProcess{}}
	var addrs, seeds []string
	for i := range 3 {
		m := &memberProcess{Name: fmt.Sprint("m", i+1), Listen: freeAddr(t), Gossip: freeAddr(t)}
		m.Dir = filepath.Join(p.dir, m.Name)
		p.members[MemberID(m.Name)] = m
		addrs, seeds = append(addrs, m.Listen), append(seeds, m.Gossip)
	}
	for _, m := range p.members {
		m.Seeds, m.Timing = seeds, timing
		p.start(m)
	}
	t.Cleanup(func() {
		for _, m := range p.members {
			m.in.Close()
		}
		for _, m := range p.members {
			if err := m.cmd.Wait(); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	})
	dial, err := wire.TCPDialer("")
	if err != nil {
		t.Fatal(err)
	}
	topology := NewRemoteTopology(dial, addrs)
	p.router = NewRouter(RouterConfig{Topology: topology, Dial: dial})
	t.Cleanup(func() {
		if err := errors.Join(p.router.Close(), topology.Close()); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.router.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	p.await("there are three replicas of each group", func() bool {
		_ = p.router.Refresh(ctx)
		s := p.router.State()
		return len(s.Groups) > 0 && !slices.ContainsFunc(s.Groups, func(g Group) bool {
			return g.Stage != Serving || len(g.Replicas) != 3 || slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Role != Voter })
		})
	})
	return p
}

// freeAddr returns an address on loopback at which nobody listens.
func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *processes) logFile(m *memberProcess) string { return filepath.Join(p.dir, m.Name+".log") }

func (p *processes) start(m *memberProcess) {
	p.t.Helper()
	env, err := json.Marshal(m) //nolint:musttag // as above
	if err != nil {
		p.t.Fatal(err)
	}
	log, err := os.OpenFile(p.logFile(m), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	m.cmd = exec.Command(os.Args[0], "-test.run=^TestMemberProcess$")
	m.cmd.Env = append(os.Environ(), memberEnv+"="+string(env))
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if m.in, err = m.cmd.StdinPipe(); err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *processes) await(what string, holds func() bool) {
	p.t.Helper()
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			p.t.Fatalf("not after 30 s: %s", what)
		}
	}
}

// leaders returns who leads each group and confirms that to be so.
func (p *processes) leaders() map[GroupID]MemberID {
	leaders := map[GroupID]MemberID{}
	ctx, cancel := context.WithTimeout(p.t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, g := range p.router.State().Groups {
		for _, r := range g.Replicas {
			svc, err := p.router.Member(ctx, r.Member)
			if err != nil {
				continue
			}
			if _, err := svc.Hello(ctx, g.ID); err == nil {
				leaders[g.ID] = r.Member
			}
		}
	}
	return leaders
}

// steady waits until every group has a leader, the same for a while and spread
// over all three members.
func (p *processes) steady() map[GroupID]MemberID {
	p.t.Helper()
	var leaders map[GroupID]MemberID
	var since time.Time
	p.await("leaders are settled", func() bool {
		now := p.leaders()
		same := len(now) == len(p.router.State().Groups) && len(now) == len(leaders)
		by := map[MemberID]bool{}
		for g, m := range now {
			same = same && leaders[g] == m
			by[m] = true
		}
		if leaders = now; !same || len(by) != 3 {
			since = time.Now()
		}
		return time.Since(since) > time.Second
	})
	return leaders
}

// gaps writes to every group without a pause and knows when.
type gaps struct {
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked map[GroupID][]time.Time
}

func (p *processes) write() *gaps {
	w := &gaps{stop: make(chan struct{}), acked: map[GroupID][]time.Time{}}
	def, ok := p.router.State().Space(DefaultSpace)
	if !ok {
		p.t.Fatal("there is no space default")
	}
	keys := map[GroupID]string{}
	for i := 0; len(keys) < len(p.router.State().Groups); i++ {
		key := fmt.Sprint("k", i)
		keys[p.router.State().Table[at(p.router, key)]] = key
	}
	for g, key := range keys {
		w.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-w.stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				c := &Call{Partition: at(p.router, key), Ops: []space.Op{{
					Code: space.OpWrite, Space: def.ID, Key: []byte(key), Value: fmt.Append(nil, i),
				}}}
				p.router.Do(context.Background(), []*Call{c})
				if c.Err != nil {
					p.t.Errorf("write: %v", c.Err)
				}
				w.mu.Lock()
				w.acked[g] = append(w.acked[g], time.Now())
				w.mu.Unlock()
			}
		})
	}
	return w
}

// longest ends the writing and returns the longest time without an answer in each
// of some groups.
func (w *gaps) longest(groups []GroupID) (all []time.Duration) {
	close(w.stop)
	w.wg.Wait()
	for _, g := range groups {
		var longest time.Duration
		for i, at := range w.acked[g] {
			if i > 0 {
				longest = max(longest, at.Sub(w.acked[g][i-1]))
			}
		}
		all = append(all, longest)
	}
	return all
}

// disturb does something to the busiest leader while all groups are written to,
// undoes it after a while, and returns how long the groups that it led were without
// an answer.
func (p *processes) disturb(fault func(m *memberProcess), while time.Duration, undo func(m *memberProcess)) []time.Duration {
	p.t.Helper()
	var victim MemberID
	led := map[MemberID][]GroupID{}
	for g, m := range p.steady() {
		if led[m] = append(led[m], g); len(led[m]) > len(led[victim]) {
			victim = m
		}
	}
	w := p.write()
	time.Sleep(500 * time.Millisecond)
	at := time.Now()
	fault(p.members[victim])
	time.Sleep(while)
	undo(p.members[victim])
	time.Sleep(500 * time.Millisecond)
	gaps := w.longest(led[victim])
	p.t.Logf("%s led %d groups: %v", victim, len(led[victim]), gaps)
	if *failoverLogs {
		p.print(at.Add(-time.Second))
	}
	return gaps
}

// print shows what the members have logged since a moment.
func (p *processes) print(since time.Time) {
	for _, m := range p.members {
		f, err := os.Open(p.logFile(m))
		if err != nil {
			p.t.Error(err)
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			stamp, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "time="), " ")
			if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && at.After(since) {
				p.t.Log(m.Name, lines.Text())
			}
		}
		f.Close()
	}
}

// A leader whose process is killed, and one that is paused, are replaced, and a
// client that writes all the while is not kept waiting for long. The times are
// printed; the bounds here only tell a grid that works from one that does not.
func TestClientsOutliveALeader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	p := startProcesses(t, replica.Timing{})
	signal := func(s syscall.Signal) func(*memberProcess) {
		return func(m *memberProcess) {
			if err := m.cmd.Process.Signal(s); err != nil {
				t.Error(err)
			}
		}
	}
	var killed, paused []time.Duration
	for range *failoverRounds {
		killed = append(killed, p.disturb(func(m *memberProcess) {
			if err := m.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = m.cmd.Wait() // It was killed.
		}, 500*time.Millisecond, p.start)...)
		paused = append(paused, p.disturb(signal(syscall.SIGSTOP), 1800*time.Millisecond, signal(syscall.SIGCONT))...)
	}
	report(t, "killed", killed, 3*time.Second)
	report(t, "paused", paused, 4*time.Second)
}

func report(t *testing.T, what string, gaps []time.Duration, most time.Duration) {
	t.Helper()
	slices.Sort(gaps)
	worst := gaps[len(gaps)-1]
	t.Logf("%s: no answer for %v at the median, %v at most, of %d groups", what, gaps[len(gaps)/2], worst, len(gaps))
	if worst > most {
		t.Errorf("%s: no answer for %v", what, worst)
	}
}

// BenchmarkLeadersUnderLoad counts the elections that nobody asked for while every
// group is written to and many more processes than there are cores only compute.
// One iteration takes ten seconds.
func BenchmarkLeadersUnderLoad(b *testing.B) {
	for _, lease := range []time.Duration{125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond} {
		b.Run(fmt.Sprint("lease=", lease), func(b *testing.B) {
			p := startProcesses(b, replica.Timing{Lease: lease})
			p.steady()
			var burners []*exec.Cmd
			for range 16 {
				burn := exec.Command("sh", "-c", "while :; do :; done")
				if err := burn.Start(); err != nil {
					b.Fatal(err)
				}
				burners = append(burners, burn)
			}
			defer func() {
				for _, burn := range burners {
					_ = burn.Process.Kill()
					_ = burn.Wait() // It was killed.
				}
			}()
			before := p.elections()
			var worst time.Duration
			for b.Loop() {
				w := p.write()
				time.Sleep(10 * time.Second)
				var groups []GroupID
				for g := range w.acked {
					groups = append(groups, g)
				}
				worst = max(worst, slices.Max(w.longest(groups)))
			}
			b.ReportMetric(float64(p.elections()-before)/float64(b.N), "elections/op")
			b.ReportMetric(float64(worst.Milliseconds()), "ms-without-answer")
		})
	}
}

// elections returns how often members have begun to lead, by their logs.
func (p *processes) elections() (n int) {
	for _, m := range p.members {
		b, err := os.ReadFile(p.logFile(m))
		if err != nil {
			p.t.Error(err)
		}
		n += strings.Count(string(b), "msg=leading ")
	}
	return n
}
