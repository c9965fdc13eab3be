package fault_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/lab/labtest"
)

var only = flag.String("faults", strings.Join([]string{
	"kill-leader", "kill-all", "pause-leader", "cut-leader", "cut-one-way", "cut-members-port", "cut-gossip", "cut-clients", "loss",
	"reset-one", "reset-storm", "power-one", "power-all", "sync-error", "sync-slow", "disk-full", "bytes-flip", "live-bytes-tail", "disk-lost", "disk-stale",
	"clock-5s", "clock-strobe", "transfer", "cold-start", "several",
}, ","), "the faults to try, with commas between them; all: every one")

var seed = flag.Uint64("seed", 1, "of what the faults draw")

func TestMain(m *testing.M) { labtest.Main(m) }

// Every fault shows that it has happened, and when it is healed the members are
// what they were: ready, with the same changes everywhere.
func TestStrikeAndHeal(t *testing.T) {
	l := labtest.Open(t, lab.Config{Members: 3, Doors: true, Flags: []string{"--partitions", "16"}})
	if err := l.StartAll(); err != nil {
		t.Fatal(err)
	}
	if err := l.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	defer func() { filesAreKnown(t, l) }()
	for _, f := range append(fault.All(), fault.Damages()...) {
		if (*only != "all" || slices.Contains(fault.Damages(), f)) && !strings.Contains(","+*only+",", ","+f.Name()+",") {
			continue
		}
		if why := f.Missing(l.Rights()); why != "" {
			t.Logf("%-16s cannot be tried here: %s", f.Name(), why)
			continue
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		j, err := f.Strike(ctx, l, r)
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			cancel()
			continue
		}
		struck := time.Since(begun)
		if err := j.Heal(ctx); err != nil {
			t.Fatalf("heal %s (%v): %v", f.Name(), j, err)
		}
		healed := time.Since(begun)
		if err := l.AwaitReady(ctx); err != nil {
			t.Fatalf("after %s (%v): %v", f.Name(), j, err)
		}
		if err := l.AwaitAligned(ctx, 20*time.Second); err != nil {
			t.Fatalf("after %s (%v): %v", f.Name(), j, err)
		}
		if err := l.AwaitWhole(ctx); err != nil {
			t.Fatalf("after %s (%v): %v", f.Name(), j, err)
		}
		cancel()
		t.Logf("%-16s %5.2f s, healed after %5.2f s, ready after %5.2f s: %v", f.Name(), struck.Seconds(), healed.Seconds(), time.Since(begun).Seconds(), j)
	}
}

// filesAreKnown makes sure that every file that a member has written is of a kind
// that can be damaged.
func filesAreKnown(t *testing.T, l *lab.Lab) {
	for _, m := range l.All() {
		files, err := fault.Files(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range fault.Kinds() {
			delete(files, k)
		}
		if len(files) > 0 {
			t.Errorf("files of %s that no kind is for: %v", m.Name(), files)
		}
	}
}
