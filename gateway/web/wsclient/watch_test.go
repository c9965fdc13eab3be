package wsclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/gateway/web/wsclient"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// TestMain: nothing that a test started outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newGrid starts a grid of one member in memory.
func newGrid(t *testing.T) *grid.Grid {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{Name: "m1", Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// door is a web server on a fixed address whose connections can be cut.
type door struct {
	t      *testing.T
	server *web.Server
	addr   string
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed chan struct{}
}

// newDoor serves a grid.
func newDoor(t *testing.T, g *grid.Grid, limits web.Limits) *door {
	t.Helper()
	s, err := web.New(web.Config{Grid: g, Self: "m1", Logger: slog.New(slog.DiscardHandler), Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, server: s, addr: l.Addr().String(), conns: map[net.Conn]struct{}{}, closed: make(chan struct{})}
	go func() {
		defer close(d.closed)
		if err := s.Serve(&cutting{l, d}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-d.closed
	})
	return d
}

// cutting is a listener that remembers its connections.
type cutting struct {
	net.Listener
	d *door
}

func (c *cutting) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.d.mu.Lock()
		c.d.conns[nc] = struct{}{}
		c.d.mu.Unlock()
	}
	return nc, err
}

// cut closes every connection, as the end of the process would.
func (d *door) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for nc := range d.conns {
		_ = nc.Close()
	}
	clear(d.conns)
}

// view is what a subscriber makes of a watch: the content of the space, and the
// changes of each partition.
type view struct {
	entries map[int]map[string]string // by partition and key
	last    map[int]uint64
	resets  int
}

func newView() *view { return &view{entries: map[int]map[string]string{}, last: map[int]uint64{}} }

// see takes one event over. Events of a partition must come in order, each once.
func (v *view) see(t *testing.T, e wsclient.Event) {
	t.Helper()
	part := v.entries[e.Partition]
	if part == nil && e.Partition >= 0 {
		part = map[string]string{}
		v.entries[e.Partition] = part
	}
	switch e.Op {
	case wsclient.Reset:
		v.resets++
		if e.Partition < 0 {
			clear(v.entries)
			clear(v.last)
		} else {
			delete(v.entries, e.Partition)
			delete(v.last, e.Partition)
		}
		return
	case wsclient.Mark, wsclient.SnapshotEnd:
		return
	case wsclient.Snapshot:
		part[e.KeyText()] = string(e.Value)
		return
	}
	if e.Seq <= v.last[e.Partition] {
		t.Fatalf("partition %d: change %d after %d", e.Partition, e.Seq, v.last[e.Partition])
	}
	// Only this space is written to, so there is no gap either.
	if last := v.last[e.Partition]; last != 0 && e.Seq != last+1 {
		t.Fatalf("partition %d: change %d after %d", e.Partition, e.Seq, last)
	}
	v.last[e.Partition] = e.Seq
	if e.Op == wsclient.Removed {
		delete(part, e.KeyText())
		return
	}
	part[e.KeyText()] = string(e.Value)
}

// all returns the content without partitions.
func (v *view) all() map[string]string {
	m := map[string]string{}
	for _, part := range v.entries {
		maps.Copy(m, part)
	}
	return m
}

// write changes random entries of the space log until ctx ends, then writes the
// last entries, and returns what is there. It may run on any goroutine.
func write(ctx context.Context, t *testing.T, g *grid.Grid) map[string]string {
	t.Helper()
	def, err := g.Describe(t.Context(), "log")
	if err != nil {
		t.Error(err)
	}
	content := map[string]string{}
	random := rand.New(rand.NewPCG(1, 2))
	put := func(b *grid.Batch, key string, n int) {
		value, err := grid.FieldsOf(map[string]any{"n": n})
		if err != nil {
			t.Error(err)
		}
		b.Do(space.Op{Code: space.OpWrite, Space: def.ID, Key: []byte(key), Value: value, Kind: space.KindFields})
		content[key] = fmt.Sprintf(`{"n":%d}`, n)
	}
	run := func(b *grid.Batch) {
		if err := g.Run(t.Context(), b); err != nil {
			t.Error(err)
		}
	}
	for n := 0; ctx.Err() == nil; n++ {
		b := g.NewBatch()
		for range 1 + random.IntN(5) {
			key := fmt.Sprint("k", random.IntN(200))
			if _, there := content[key]; there && random.IntN(4) == 0 {
				b.Do(space.Op{Code: space.OpTake, Space: def.ID, Key: []byte(key)})
				delete(content, key)
				continue
			}
			put(b, key, n)
		}
		run(b)
	}
	for i := range 200 { // one at least in every partition
		b := g.NewBatch()
		put(b, fmt.Sprint("end", i), i)
		run(b)
	}
	return content
}

// TestResume: a subscriber whose connections are cut again and again, and who
// goes on at another door each time, sees every change once and in order, and
// ends with the content of the space.
func TestResume(t *testing.T) {
	g := newGrid(t)
	if _, err := g.CreateSpace(t.Context(), space.Definition{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	limits := web.Limits{Sockets: web.SocketLimits{CursorEvery: 20 * time.Millisecond}}
	doors := []*door{newDoor(t, g, limits), newDoor(t, g, limits)}
	writing, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	written := make(chan map[string]string, 1)
	go func() { written <- write(writing, t, g) }()
	var cutter sync.WaitGroup
	cuts := 0
	cutter.Go(func() {
		for writing.Err() == nil {
			time.Sleep(time.Duration(50+rand.IntN(50)) * time.Millisecond)
			doors[0].cut()
			doors[1].cut()
			cuts++
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lost, v, seen := 0, newView(), 0
	w := wsclient.New(wsclient.Config{
		Addresses: []string{doors[0].addr, doors[1].addr}, Space: "log", Credit: 50,
		Lost: func(string, error) { lost++ },
	})
	var content map[string]string
	for e, err := range w.Events(ctx) {
		if err != nil {
			t.Fatalf("after %d events, %d entries of %d: %v", seen, len(v.all()), len(content), err)
		}
		v.see(t, e)
		seen++
		if content == nil {
			select {
			case content = <-written:
			default:
				continue
			}
		}
		if maps.Equal(v.all(), content) {
			break
		}
	}
	cutter.Wait()
	if lost < 5 || v.resets > 2 {
		t.Fatalf("%d cuts, %d connections lost, %d resets: the cursor was not used", cuts, lost, v.resets)
	}
	t.Logf("%d events, %d connections lost, %d resets", seen, lost, v.resets)
}

// TestContinueElsewhere: a cursor that was stored is continued by another watch,
// without a snapshot.
func TestContinueElsewhere(t *testing.T) {
	g := newGrid(t)
	if _, err := g.CreateSpace(t.Context(), space.Definition{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	write(ctx, t, g)
	d := newDoor(t, g, web.Limits{})
	first := wsclient.New(wsclient.Config{Addresses: []string{d.addr}, Space: "log"})
	for e, err := range first.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Op == wsclient.SnapshotEnd {
			break
		}
	}
	if first.Cursor() == "" {
		t.Fatal("no cursor after the snapshot")
	}
	write(ctx, t, g)
	second := wsclient.New(wsclient.Config{Addresses: []string{d.addr}, Space: "log", From: first.Cursor()})
	updated := 0
	for e, err := range second.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Op {
		case wsclient.Updated:
			updated++
		case wsclient.Mark:
		default:
			t.Fatalf("%+v", e)
		}
		if updated == 200 {
			break
		}
	}
}

// TestRefused: a watch of a space that is not there ends with the reason.
func TestRefused(t *testing.T) {
	d := newDoor(t, newGrid(t), web.Limits{})
	w := wsclient.New(wsclient.Config{Addresses: []string{d.addr}, Space: "none"})
	for e, err := range w.Events(t.Context()) {
		var refused *wsclient.Error
		if !errors.As(err, &refused) || refused.Name != "SPACE_NOT_FOUND" {
			t.Fatalf("%+v %v", e, err)
		}
	}
}

// TestDrainMovesOn: a subscriber of a door that drains goes to another one and
// misses nothing.
func TestDrainMovesOn(t *testing.T) {
	g := newGrid(t)
	a, b := newDoor(t, g, web.Limits{}), newDoor(t, g, web.Limits{})
	put := func(key string) {
		def, err := g.Describe(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		batch := g.NewBatch()
		batch.Do(space.Op{Code: space.OpWrite, Space: def.ID, Key: []byte(key), Kind: space.KindBytes})
		if err := g.Run(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := wsclient.New(wsclient.Config{Addresses: []string{a.addr, b.addr}, Space: "default"})
	var closed sync.WaitGroup
	for e, err := range w.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Op == wsclient.SnapshotEnd:
			closed.Go(func() {
				if err := a.server.Close(); err != nil {
					t.Error(err)
				}
				put("after")
			})
		case e.Op == wsclient.Reset:
			t.Fatalf("%+v", e)
		}
		if e.KeyText() == "after" {
			if !bytes.Equal(e.Value, json.RawMessage(`{"$bytes":""}`)) {
				t.Fatalf("%s", e.Value)
			}
			break
		}
	}
	closed.Wait()
}
