package workload_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/gateway/resp"
	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// place is a cluster in this process, with doors on a network in memory.
type place struct {
	t       *testing.T
	cluster *gridtest.Cluster
	members int
	net     *wire.Network

	mu     sync.Mutex
	doors  []func() // that end them, by member; nil: not open
	killed map[int]bool
}

func newPlace(t *testing.T, c *gridtest.Cluster, members int) *place {
	p := &place{t: t, cluster: c, members: members, net: wire.NewNetwork(), doors: make([]func(), members), killed: map[int]bool{}}
	for i := range members {
		p.open(i)
	}
	t.Cleanup(func() {
		for i := range members {
			p.shut(i)
		}
	})
	return p
}

// open starts the doors of a member.
func (p *place) open(member int) {
	log := slog.New(slog.DiscardHandler)
	g := p.cluster.Member(member)
	commands := resp.NewCommands(resp.CommandsConfig{Grid: g, Logger: log})
	redis := resp.New(resp.Config{Handler: commands, Logger: log})
	http, err := web.New(web.Config{Grid: g, Logger: log})
	if err != nil {
		p.t.Fatal(err)
	}
	var all sync.WaitGroup
	for kind, serve := range map[string]func(net.Listener) error{workload.DoorRESP: redis.Serve, workload.DoorHTTP: http.Serve} {
		l, err := p.net.Listen(p.Door(kind, member))
		if err != nil {
			p.t.Fatal(err)
		}
		all.Go(func() {
			// A listener that crashed ends as it likes.
			if err := serve(l); err != nil && !p.dead(member) {
				p.t.Errorf("the %s door of member %d: %v", kind, member, err)
			}
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed[member] = false
	p.doors[member] = func() {
		if err := errors.Join(redis.Close(), http.Close()); err != nil {
			p.t.Errorf("the doors of member %d: %v", member, err)
		}
		all.Wait()
	}
}

func (p *place) shut(member int) {
	p.mu.Lock()
	end := p.doors[member]
	p.doors[member] = nil
	p.mu.Unlock()
	if end != nil {
		end()
	}
}

func (p *place) dead(member int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed[member]
}

func (p *place) kill(member int) {
	p.mu.Lock()
	p.killed[member] = true
	p.mu.Unlock()
	p.cluster.Kill(member)
	p.net.Crash(host(member))
	p.shut(member)
}

func (p *place) start(member int) {
	p.cluster.Start(member)
	p.cluster.Ready()
	p.open(member)
}

func host(member int) string { return fmt.Sprintf("m%d", member+1) }

func (p *place) Members() int { return p.members }

func (p *place) Dial(context.Context, int, int) (*grid.Grid, error) { return p.cluster.Dial(), nil }

func (p *place) Door(kind string, member int) string {
	return host(member) + ":" + map[string]string{workload.DoorRESP: "7379", workload.DoorHTTP: "7380"}[kind]
}

func (p *place) Conn(ctx context.Context, client int, addr string) (net.Conn, error) {
	return p.net.Dialer(fmt.Sprintf("client%d", client))(ctx, addr)
}

// trouble is what happens during a run.
type trouble func(t *testing.T, p *place)

// quiet lets a run pass without faults.
func quiet(*testing.T, *place) { time.Sleep(3 * time.Second) }

// broken isolates a member for a while, and kills another.
func broken(t *testing.T, p *place) {
	time.Sleep(time.Second)
	p.cluster.Isolate(p.cluster.Leader("isolated"))
	time.Sleep(3 * time.Second)
	p.cluster.Heal()
	time.Sleep(time.Second)
	victim := p.cluster.Leader("killed")
	p.kill(victim)
	time.Sleep(2 * time.Second)
	p.start(victim)
	time.Sleep(time.Second)
}

// carryOut runs a workload at a place while something happens to it.
func carryOut(t *testing.T, p workload.Place, w workload.Workload, during func()) *workload.History {
	t.Helper()
	h := workload.NewHistory(nil)
	if err := w.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, p, h, workload.Options{Seed: 1, Rate: 90}) }()
	during()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(t.Context(), p, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// Every workload passes on a healthy cluster, and on one of which a member is cut
// off and another is killed: and has done enough in either to mean something.
func TestHonestCluster(t *testing.T) {
	for name, trouble := range map[string]trouble{"quiet": quiet, "broken": broken} {
		for _, w := range workload.All() {
			t.Run(w.Name()+"/"+name, func(t *testing.T) {
				gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
					brisk(w)
					p := newPlace(t, c, 3)
					h := carryOut(t, p, w, func() { trouble(t, p) })
					v := w.Judge(h)
					t.Logf("%d lines: %+v", h.Len(), *v)
					if v.Word() != workload.Passed {
						t.Errorf("the verdict is %s: %q", v.Word(), v.Complaints)
					}
					if v.OK < 100 {
						t.Errorf("%d operations were done", v.OK)
					}
					if name == "quiet" && v.Failed+v.Indeterminate > v.OK/3 {
						t.Errorf("%d failed and %d are unknown, without faults", v.Failed, v.Indeterminate)
					}
				})
			})
		}
	}
}
