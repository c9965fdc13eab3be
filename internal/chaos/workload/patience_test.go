package workload_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// desert is a place where nobody answers.
type desert struct{}

var errNobody = errors.New("nobody is there")

func (desert) Members() int { return 3 }

func (desert) Door(string, int) string { return "m1:7380" }

func (desert) Dial(ctx context.Context, _, _ int) (*grid.Grid, error) {
	<-ctx.Done()
	return nil, errNobody
}

func (desert) Conn(ctx context.Context, _ int, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, errNobody
}

// Where nobody answers a workload ends all the same: its run soon after its context,
// its end within a bound; and what it could not look at has not passed.
func TestNobodyAnswers(t *testing.T) {
	for _, w := range workload.All() {
		t.Run(w.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := workload.NewHistory(nil)
				if err := w.Prepare(t.Context(), desert{}); !errors.Is(err, errNobody) {
					t.Errorf("prepared: %v", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begun := time.Now()
				if err := w.Run(ctx, desert{}, h, workload.Options{}); err != nil {
					t.Error(err)
				}
				if d := time.Since(begun); d > 20*time.Second {
					t.Errorf("a run of 10s took %v", d)
				}
				begun = time.Now()
				if err := w.Finish(t.Context(), desert{}, h); err != nil {
					t.Error(err)
				}
				if d := time.Since(begun); d > 2*time.Minute {
					t.Errorf("the end took %v", d)
				}
				if v := w.Judge(h); v.Word() != workload.Undecided {
					t.Errorf("the verdict is %s: %q", v.Word(), v.Complaints)
				}
			})
		})
	}
}

// tarpit is a place whose HTTP doors never take anything and keep no deadline.
type tarpit struct {
	*place
	end chan struct{}
}

type tarpitConn struct {
	net.Conn
	end chan struct{}
}

func (c tarpitConn) Write([]byte) (int, error) {
	<-c.end
	return 0, net.ErrClosed
}

func (p *tarpit) Conn(ctx context.Context, client int, addr string) (net.Conn, error) {
	conn, err := p.place.Conn(ctx, client, addr)
	if err != nil || addr[len(addr)-5:] != ":7380" {
		return conn, err
	}
	return tarpitConn{conn, p.end}, nil
}

// A call that does not come back holds up neither the run nor its client for good,
// and is reported; the other doors go on being used, each of them.
func TestCallThatHangs(t *testing.T) {
	gridtest.Run(t, 1, func(t *testing.T, c *gridtest.Cluster) {
		p := &tarpit{newPlace(t, c, 1), make(chan struct{})}
		defer close(p.end)
		w := &workload.Register{}
		h := carryOut(t, p, w, func() { time.Sleep(40 * time.Second) })
		v := w.Judge(h)
		if v.Word() != workload.Failed || v.Wrong == 0 || v.Wrong != v.Indeterminate {
			t.Errorf("the verdict is %s: %+v", v.Word(), *v)
		}
		doors := map[string]int{}
		for _, op := range h.Ops() {
			doors[op.Door]++
		}
		if doors[workload.DoorGo] < 15 || doors[workload.DoorRESP] < 10 || doors[workload.DoorHTTP] < 8 {
			t.Errorf("operations by door: %v", doors)
		}
	})
}

// A register is used through every door.
func TestEveryDoor(t *testing.T) {
	gridtest.Run(t, 1, func(t *testing.T, c *gridtest.Cluster) {
		h := carryOut(t, newPlace(t, c, 1), &workload.Register{}, func() { time.Sleep(10 * time.Second) })
		used := map[string]int{}
		for _, op := range h.Ops() {
			if op.Error == "" {
				used[op.Door+" "+op.Kind]++
			}
		}
		for _, want := range []string{"go get", "go put", "go cas", "go peek", "resp get", "resp put", "resp cas", "http get", "http put", "http cas"} {
			if used[want] < 5 {
				t.Errorf("%s: %d times, of %v", want, used[want], used)
			}
		}
	})
}
