package workload_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// split is a place with a brain too many: some clients talk to another cluster.
type split struct {
	*place
	other *gridtest.Cluster
}

func (s *split) Dial(ctx context.Context, client, member int) (*grid.Grid, error) {
	if client%3 == 1 {
		return s.other.Dial(), nil
	}
	return s.place.Dial(ctx, client, member)
}

// Every workload fails where some clients see another cluster than the others.
func TestSplitBrain(t *testing.T) {
	for _, w := range workload.All() {
		t.Run(w.Name(), func(t *testing.T) {
			gridtest.Run(t, 1, func(t *testing.T, c *gridtest.Cluster) {
				brisk(w)
				p := &split{newPlace(t, c, 1), gridtest.New(t, 1)}
				h := carryOut(t, p, w, func() { time.Sleep(3 * time.Second) })
				v := w.Judge(h)
				t.Logf("%d lines: %.600s", h.Len(), v.Complaints)
				if v.Word() != workload.Failed || len(v.Complaints) == 0 {
					t.Errorf("the verdict is %s: %+v", v.Word(), *v)
				}
			})
		})
	}
}

// brisk makes a workload fit for a clock that stands still while anybody waits for
// a lock.
func brisk(w workload.Workload) {
	if w, ok := w.(*workload.Watch); ok {
		w.Brisk = true
	}
}

// vandal is somebody who changes what is in a space behind the clients' backs.
type vandal struct {
	t    *testing.T
	g    *grid.Grid
	def  space.Definition
	rand *rand.Rand
}

// any returns one of the entries that are there, nil if there are none.
func (v *vandal) any() *grid.Entry {
	entries, _, _, err := v.g.Page(v.t.Context(), v.def.ID, grid.Bookmark{}, 10_000)
	if err != nil {
		v.t.Fatal(err)
	}
	if len(entries) == 0 {
		return nil
	}
	return &entries[v.rand.IntN(len(entries))]
}

// write writes an entry, or removes it if it has no value.
func (v *vandal) write(key, value []byte, kind grid.Kind) {
	op := space.Op{Code: space.OpWrite, Space: v.def.ID, Key: key, Value: value, Kind: kind}
	if value == nil {
		op = space.Op{Code: space.OpTake, Space: v.def.ID, Key: key}
	}
	b := v.g.NewBatch()
	b.Do(op)
	if err := v.g.Run(v.t.Context(), b); err != nil {
		v.t.Fatal(err)
	}
	_, _ = b.Result(0) // somebody may have been faster
}

// remove makes an entry disappear.
func (v *vandal) remove() {
	if e := v.any(); e != nil {
		v.write(e.Key, nil, e.Kind)
	}
}

// restore writes an entry again as it was a while ago.
func (v *vandal) restore() {
	if e := v.any(); e != nil {
		time.Sleep(2 * time.Second)
		v.write(e.Key, e.Value, e.Kind)
	}
}

// set sets a field of an entry.
func (v *vandal) set(field string, value any) func() {
	return func() {
		if e := v.any(); e != nil {
			if _, err := v.g.Change(v.t.Context(), v.def.Name, string(e.Key), grid.Set(field, value)); err != nil {
				v.t.Error(err)
			}
		}
	}
}

// What a cluster does wrong is counted as what it is: a loss, a repetition, an old
// value, something out of nothing.
func TestLies(t *testing.T) {
	for name, c := range map[string]struct {
		workload, space string
		do              func(*vandal) func()
		sign            func(*workload.Verdict) int
	}{
		"a set loses an element": {"set", "chaos-set", func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"a register loses a write": {"register", grid.DefaultSpace, func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"a register has an old value": {"register", grid.DefaultSpace, func(v *vandal) func() { return v.restore },
			func(v *workload.Verdict) int { return v.Stale }},
		"a queue loses an entry": {"queue", "chaos-queue", func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"a queue hands an entry out again": {"queue", "chaos-queue", func(v *vandal) func() { return v.restore },
			func(v *workload.Verdict) int { return v.Duplicated }},
		"a job is lost": {"claims", "chaos-claims", func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"a job is done again": {"claims", "chaos-claims", func(v *vandal) func() { return v.restore },
			func(v *workload.Verdict) int { return v.Duplicated + v.DoubleApplies }},
		"a bank makes money": {"bank", "chaos-accounts", func(v *vandal) func() { return v.set("balance", 1000) },
			func(v *workload.Verdict) int { return min(v.Wrong, v.DoubleApplies) }},
		"a bank loses receipts": {"bank", "chaos-receipts", func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"a list loses its end": {"list", "chaos-lists", func(v *vandal) func() { return v.set("elements", []any{}) },
			func(v *workload.Verdict) int { return v.AckedLost + v.Wrong }},
		"an entry goes before its lease": {"lease", "chaos-leases", func(v *vandal) func() { return v.remove },
			func(v *workload.Verdict) int { return v.AckedLost }},
		"an entry comes back": {"lease", "chaos-leases", func(v *vandal) func() { return v.restore },
			func(v *workload.Verdict) int { return v.Stale + v.Wrong }},
		"watchers see what nobody wrote": {"watch", "chaos-watch", func(v *vandal) func() { return v.set("value", "forged") },
			func(v *workload.Verdict) int { return min(v.Phantom, v.DoubleApplies) }},
	} {
		t.Run(name, func(t *testing.T) {
			gridtest.Run(t, 1, func(t *testing.T, cluster *gridtest.Cluster) {
				w, ok := workload.Named(c.workload)
				if !ok {
					t.Fatal("there is no such workload")
				}
				brisk(w)
				h := carryOut(t, newPlace(t, cluster, 1), w, func() {
					time.Sleep(time.Second)
					g := cluster.Dial()
					def, err := g.Describe(t.Context(), c.space)
					if err != nil {
						t.Fatal(err)
					}
					v := &vandal{t, g, def, rand.New(rand.NewPCG(1, 1))}
					for range 5 {
						c.do(v)()
						time.Sleep(300 * time.Millisecond)
					}
					time.Sleep(time.Second)
				})
				v := w.Judge(h)
				t.Logf("%d lines: %.600s", h.Len(), v.Complaints)
				if v.Word() != workload.Failed || c.sign(v) == 0 {
					t.Errorf("the verdict is %s: %+v", v.Word(), *v)
				}
			})
		})
	}
}

// forgetful is a place whose HTTP doors leave out a message of changes now and then.
type forgetful struct{ *place }

func (f *forgetful) Conn(ctx context.Context, client int, addr string) (net.Conn, error) {
	conn, err := f.place.Conn(ctx, client, addr)
	if err != nil || !strings.HasSuffix(addr, ":7380") {
		return conn, err
	}
	return &forgetfulConn{Conn: conn, in: bufio.NewReader(conn)}, nil
}

// forgetfulConn leaves out every fifth message that has one change.
type forgetfulConn struct {
	net.Conn
	in   *bufio.Reader
	rest []byte
	open bool
	n    int
}

func (c *forgetfulConn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		next, err := c.next()
		if err != nil {
			return 0, err
		}
		if bytes.Count(next, []byte(`{"op":`)) == 1 && !bytes.Contains(next, []byte(`"cursor"`)) {
			if c.n++; c.n%5 == 0 {
				continue
			}
		}
		c.rest = next
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next returns the next line of the handshake, or the next frame.
func (c *forgetfulConn) next() ([]byte, error) {
	if !c.open {
		line, err := c.in.ReadBytes('\n')
		c.open = string(line) == "\r\n"
		return line, err
	}
	var head [4]byte
	frame := head[:2]
	if _, err := io.ReadFull(c.in, frame); err != nil {
		return nil, err
	}
	n := int(frame[1])
	if n == 126 {
		frame = head[:]
		if _, err := io.ReadFull(c.in, frame[2:]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(frame[2:]))
	}
	body := make([]byte, n)
	_, err := io.ReadFull(c.in, body)
	return slices.Concat(frame, body), err
}

// A watcher that is not told of a change is found by what the others were told.
func TestForgottenChange(t *testing.T) {
	gridtest.Run(t, 1, func(t *testing.T, cluster *gridtest.Cluster) {
		w := &workload.Watch{Brisk: true}
		h := carryOut(t, &forgetful{newPlace(t, cluster, 1)}, w, func() { time.Sleep(3 * time.Second) })
		v := w.Judge(h)
		t.Logf("%d lines: %.600s", h.Len(), v.Complaints)
		if v.Word() != workload.Failed || v.Gaps == 0 {
			t.Errorf("the verdict is %s: %+v", v.Word(), *v)
		}
	})
}
