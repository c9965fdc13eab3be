package sim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Reached counts, by name, the states that a run went through and that a run can
// easily miss. It may be used by any goroutine.
type Reached struct {
	mu     sync.Mutex
	counts map[string]int
}

// The states.
const (
	PowerFailed       = "all members crashed at once"
	DiskLost          = "a member came back with an empty disk"
	LeaderIsolated    = "a leader was cut off"
	LeaderChanged     = "another member leads"
	LeaderChangedInTx = "another member leads while a transaction is under way"
	SnapshotInstalled = "a replica took a snapshot from another"
	RepeatAnswered    = "a repeat was answered from the table of kept answers"
	StoreReplaced     = "a store was filled anew"
	StartedCold       = "a cluster started from its stores"
	TakeWaited        = "a take waited for its entry"
	OutcomeUnknown    = "a client does not know what became of a request"
	Served            = "a majority served while a minority was broken"
	WatchResumed      = "a watch went on at its cursor"
	SwapRefused       = "a swap lost against another one"
)

// States lists all names.
func States() []string {
	return []string{
		PowerFailed, DiskLost, LeaderIsolated, LeaderChanged, LeaderChangedInTx, SnapshotInstalled, RepeatAnswered,
		StoreReplaced, StartedCold, TakeWaited, OutcomeUnknown, Served, WatchResumed, SwapRefused,
	}
}

// Note counts a state.
func (r *Reached) Note(state string) { r.add(state, 1) }

func (r *Reached) add(state string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[state] += n
}

// Merge adds what another run went through.
func (r *Reached) Merge(o *Reached) {
	o.mu.Lock()
	counts := maps.Clone(o.counts)
	o.mu.Unlock()
	for state, n := range counts {
		r.add(state, n)
	}
}

// Missing returns the states that were not reached.
func (r *Reached) Missing() (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range States() {
		if r.counts[s] == 0 {
			missing = append(missing, s)
		}
	}
	return missing
}

// String lists the counts.
func (r *Reached) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, s := range slices.Sorted(maps.Keys(r.counts)) {
		fmt.Fprintf(&b, "  %6d  %s\n", r.counts[s], s)
	}
	return b.String()
}

// listener is the log of a member. It knows states by the lines that tell them.
type listener struct{ heard func(message string) }

// Enabled implements slog.Handler.
func (l listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l listener) Handle(_ context.Context, r slog.Record) error {
	l.heard(r.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (l listener) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l listener) WithGroup(string) slog.Handler { return l }
