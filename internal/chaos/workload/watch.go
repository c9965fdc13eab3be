package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	watchSpace = "chaos-watch"
	// watchKeys is how many entries there are: few are written often.
	watchKeys = 40
	// Watchers through the Go client, and over WebSocket. One of each is slow.
	goWatchers, webWatchers = 2, 2
	// watchLeast and watchMost bound the time after which a watcher hangs up and
	// goes on elsewhere.
	watchLeast, watchMost = 300 * time.Millisecond, 6 * time.Second
	// slowEvent is the longest that a slow watcher takes for an event, for as long
	// as it is slow: one watch in slowOnce.
	slowEvent = 30 * time.Millisecond
	slowOnce  = 3
	// convergeTime is how long a watcher may take to learn all there is when
	// nothing is broken any more.
	convergeTime = 20 * time.Second
)

// Watch is writes, changes and removals of a few entries, and watchers that follow
// them through the Go client and over WebSocket, hang up in the middle, go on from
// their cursor at another member, and are slow now and then. Each is told every
// change once and in order, or that what it has is void.
type Watch struct {
	// Brisk keeps the watchers of the Go client from being slow. The loop over
	// their events runs under a lock of the client, and the clock of
	// testing/synctest stands still while anybody waits for a lock.
	Brisk bool

	names    atomic.Int64
	watchers []*watcher
}

type watchedEntry struct {
	ID    string `grid:"id,key" json:"id"`
	Value string `grid:"value" json:"value"`
}

// Name implements Workload.
func (w *Watch) Name() string { return "watch" }

// Prepare implements Workload.
func (w *Watch) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[watchedEntry](ctx, g, watchSpace)
		return err
	})
}

// Run implements Workload.
func (w *Watch) Run(ctx context.Context, p Place, h *History, o Options) error {
	all := newCrew(p, h, o)
	for i := range goWatchers + webWatchers {
		follow := (*watcher).byGo
		if i >= goWatchers {
			follow = (*watcher).byWeb
		}
		w.watchers = append(w.watchers, &watcher{
			client: all.client(all.options.Clients + 1 + i), name: fmt.Sprintf("watcher%d", i), follow: follow,
			slow: i%2 == 1 && !(w.Brisk && i < goWatchers), has: map[string]has{},
		})
	}
	var following sync.WaitGroup
	for _, x := range w.watchers {
		following.Go(func() { x.run(ctx) })
	}
	err := all.run(ctx, w.step)
	following.Wait()
	return err
}

// step is one write.
func (w *Watch) step(ctx context.Context, c *client) {
	op := Op{Kind: "put", Key: fmt.Sprintf("watch-%s-%d", c.history.Mark(), c.rand.IntN(watchKeys))}
	switch dice := c.rand.IntN(100); {
	case dice < 20:
		op.Kind = "remove"
	case dice < 50:
		op.Kind = "change"
	}
	if op.Kind != "remove" {
		op.Value = fmt.Sprintf("v%d", w.names.Add(1))
	}
	c.do(ctx, op, writeWatched)
}

func writeWatched(ctx context.Context, g *grid.Grid, op *Op) error {
	s, err := grid.OpenSpace[watchedEntry](ctx, g, watchSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	op.Partition = int(space.PartitionOf([]byte(op.Key), g.Partitions()))
	var version grid.Version
	switch op.Kind {
	case "put":
		version, err = s.Write(ctx, watchedEntry{ID: op.Key, Value: op.Value})
	case "change":
		var changed grid.Changed[watchedEntry]
		changed, err = s.Change(ctx, op.Key, grid.Set("value", op.Value))
		version = changed.Version
	case "remove":
		_, err = s.Delete(ctx, op.Key)
	}
	op.Version = uint64(version)
	return err
}

// watcher follows the space. It is used by one goroutine at a time.
type watcher struct {
	*client
	name   string
	slow   bool
	follow func(*watcher, context.Context, bool) error

	cursor  string
	line    int            // the last one that the cursor is behind
	noted   int            // the last one of its own
	content map[string]has // what is there, once the writers have stopped; nil before
	has     map[string]has // what it knows
	had     map[string]has // what it knew at the cursor
}

// has is an entry as a watcher knows it.
type has struct {
	value   string
	version uint64
	at      int // its partition
}

// run follows until ctx ends, and with a content to reach until it has reached it.
func (w *watcher) run(ctx context.Context) {
	defer w.close()
	for ctx.Err() == nil && w.failed() == nil && !w.converged() {
		session, cancel := context.WithTimeout(ctx, watchLeast+time.Duration(w.rand.Int64N(int64(watchMost-watchLeast))))
		slow := w.slow && w.content == nil && w.rand.IntN(slowOnce) == 0
		err := w.follow(w, session, slow)
		if err != nil && session.Err() == nil {
			w.mark(&Op{Kind: "lost", Error: errorText(err)})
			pause(ctx, redialPause)
		}
		cancel()
		w.move()
	}
}

// converged reports whether the watcher knows all that is there.
func (w *watcher) converged() bool {
	if w.content == nil || len(w.has) != len(w.content) {
		return false
	}
	for key, is := range w.content {
		if was := w.has[key]; was.value != is.value || was.version != is.version {
			return false
		}
	}
	return true
}

// mark notes a line of the watcher's own.
func (w *watcher) mark(op *Op) {
	op.Client, op.Member = w.name, w.member
	op.Call = w.history.Now()
	op.Return, op.Outcome = op.Call, check.Done
	w.note(op)
	if op.Kind != "lost" {
		w.noted = op.N
	}
}

// began notes that a watch has begun: from the cursor, or from nothing.
func (w *watcher) began(resumed bool) {
	op := &Op{Kind: "watch", Got: "snapshot"}
	if resumed {
		op.Got, op.At = "resumed", w.line
		w.has = maps.Clone(w.had)
	} else {
		w.cursor, w.line = "", 0
		clear(w.has)
	}
	w.mark(op)
}

// told notes an event, and makes what the watcher knows of it.
func (w *watcher) told(op *Op) {
	w.mark(op)
	switch op.Kind {
	case "reset":
		for key, is := range w.has {
			if is.at == op.Partition || op.Partition < 0 {
				delete(w.has, key)
			}
		}
	case "removed":
		delete(w.has, op.Key)
	default:
		w.has[op.Key] = has{op.Value, op.Version, op.Partition}
	}
}

// reached notes how far the watcher can go on from.
func (w *watcher) reached(cursor string) {
	if cursor != "" {
		w.cursor, w.line, w.had = cursor, w.noted, maps.Clone(w.has)
	}
}

// linger is what a slow watcher does with an event.
func (w *watcher) linger(ctx context.Context, slow bool) {
	if slow {
		pause(ctx, time.Duration(w.rand.Int64N(int64(slowEvent))))
	}
}

var eventKinds = map[grid.EventKind]string{
	grid.Snapshot: "found", grid.Written: "written", grid.Updated: "updated", grid.Removed: "removed", grid.Reset: "reset",
}

// byGo follows through the Go client.
func (w *watcher) byGo(ctx context.Context, slow bool) error {
	g := w.connected(ctx)
	if g == nil {
		return nil
	}
	begin, cancel := context.WithTimeout(ctx, handshakeTime)
	x, err := g.Watch(begin, watchSpace, grid.WatchOptions{From: grid.Cursor(w.cursor)})
	cancel()
	if errors.Is(err, grid.ErrInvalid) {
		w.mark(&Op{Kind: "refused", Bad: "a cursor was refused: " + errorText(err)})
		w.cursor = ""
	}
	if err != nil {
		return err
	}
	w.began(w.cursor != "")
	for e, err := range x.Events(ctx) {
		if err != nil {
			return err
		}
		if kind, ok := eventKinds[e.Kind]; ok {
			w.told(&Op{
				Kind: kind, Key: string(e.Entry.Key), Value: watchedValue(&e), Partition: int(e.Partition),
				Version: uint64(e.Seq), Previous: uint64(e.Previous), Error: e.Cause,
			})
		}
		// The position moves with what was told; while some of the content is not
		// there yet, there is none.
		if cursor := x.Cursor(); e.Kind == grid.Reset || cursor == "" {
			w.cursor, w.line = "", 0
		} else if w.rand.IntN(cursorOnce) == 0 || e.Kind == grid.SnapshotEnd {
			w.reached(string(cursor))
		}
		if w.linger(ctx, slow); w.converged() {
			return nil
		}
	}
	return nil
}

// cursorOnce is how many events a watcher takes, on average, until it keeps the
// cursor: what came after it is told again.
const cursorOnce = 4

func watchedValue(e *grid.Event) string {
	if e.Kind == grid.Removed || e.Kind == grid.Reset {
		return ""
	}
	var v watchedEntry
	if err := grid.Unmarshal(e.Entry.Value, &v); err != nil {
		return "not an entry of this space: " + err.Error()
	}
	return v.Value
}

// byWeb follows over WebSocket.
func (w *watcher) byWeb(ctx context.Context, slow bool) error {
	addr := w.place.Door(DoorHTTP, w.member)
	if addr == "" {
		return w.byGo(ctx, slow)
	}
	s, err := openSocket(ctx, w.client, addr, watchSpace, w.cursor)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.close)
	defer s.close()
	defer stop()
	given := 0
	for {
		f, err := s.next()
		if err != nil {
			return err
		}
		if err := w.frame(ctx, f, slow); err != nil {
			return err
		}
		if given += len(f.Entries) + len(f.Events); given >= socketCredit/2 {
			if err := s.send(map[string]any{"t": "credit", "id": 1, "n": given}); err != nil {
				return err
			}
			given = 0
		}
		if w.converged() {
			return nil
		}
	}
}

// frame works in one message.
func (w *watcher) frame(ctx context.Context, f *socketFrame, slow bool) error {
	switch f.T {
	case "watching":
		if w.cursor != "" && !f.Resumed {
			w.mark(&Op{Kind: "refused", Bad: "a cursor was not gone on from"})
		}
		w.began(f.Resumed)
	case "reset":
		p := -1
		if f.Partition != nil {
			p = *f.Partition
		}
		w.told(&Op{Kind: "reset", Partition: p, Error: f.Reason})
		w.cursor, w.line = "", 0
	case "snapshot":
		for _, e := range f.Entries {
			w.told(&Op{Kind: "found", Key: e.Key, Value: e.Value.Value, Partition: e.Partition, Version: e.Seq})
			w.linger(ctx, slow)
		}
	case "events":
		for _, e := range f.Events {
			w.told(&Op{Kind: e.Op, Key: e.Key, Value: e.Value.Value, Partition: e.Partition, Version: e.Seq, Previous: e.Previous})
			w.linger(ctx, slow)
		}
		w.reached(f.Cursor)
	case "snapshot_end", "mark":
		w.reached(f.Cursor)
	case "error":
		if !f.Retryable {
			w.mark(&Op{Kind: "refused", Bad: "a watch was refused: " + f.Name + ": " + f.Message})
			w.cursor = ""
		}
		return errors.New(f.Name + ": " + f.Message)
	}
	return nil
}

// Finish implements Workload: the watchers go on until they know what is there.
func (w *Watch) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		content := c.insist(ctx, Op{Kind: "content"}, readWatched)
		if content == nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, convergeTime)
		defer cancel()
		var all sync.WaitGroup
		for _, x := range w.watchers {
			x.content = map[string]has{}
			for _, r := range content.Rows {
				x.content[r.Key] = has{value: r.Value, version: r.Version}
			}
			all.Go(func() { x.run(ctx) })
		}
		all.Wait()
	})
}

// readWatched reads all that is there.
func readWatched(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	for e, err := range g.Query(ctx, watchSpace, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		var v watchedEntry
		if err := grid.Unmarshal(e.Value, &v); err != nil {
			op.Bad = "what is there is no entry of this space: " + err.Error()
			continue
		}
		op.Rows = append(op.Rows, Row{Key: string(e.Key), Value: v.Value, Version: uint64(e.Version)})
	}
	return nil
}

// Judge implements Workload.
func (w *Watch) Judge(h *History) *Verdict {
	v := tally(h)
	verbs := map[string]check.StreamVerb{
		"watch": check.Began, "reset": check.Voided, "found": check.Found,
		"written": check.Created, "updated": check.Replaced, "removed": check.Gone,
	}
	var all check.StreamHistory
	for _, op := range h.Ops() {
		if verb, ok := verbs[op.Kind]; ok {
			all.Events = append(all.Events, check.StreamEvent{
				Line: op.N, Watcher: op.Client, Verb: verb, At: op.At, Partition: op.Partition,
				Seq: op.Version, Previous: op.Previous, Key: op.Key, Value: op.Value, Time: op.Return,
			})
			continue
		}
		switch op.Kind {
		case "put", "change":
			all.Writes = append(all.Writes, check.StreamWrite{
				Line: op.N, Key: op.Key, Value: op.Value, Partition: op.Partition, Seq: op.Version, Call: op.Call, Outcome: op.Outcome,
			})
		case "content":
			if op.Outcome != check.Done {
				continue
			}
			all.Content = []check.StreamEntry{}
			for _, r := range op.Rows {
				all.Content = append(all.Content, check.StreamEntry{Key: r.Key, Value: r.Value, Seq: r.Version})
			}
		case "refused":
			v.Wrong++
			v.complainf("line %d: watcher %s: %s", op.N, op.Client, op.Bad)
		}
	}
	found := check.Streams(&all)
	v.Gaps, v.Duplicated, v.Phantom, v.DoubleApplies = found.Gaps+found.Diverged, found.Repeated, found.Phantom, found.Twice
	v.Wrong += found.Backward + found.Disagree + found.Previous
	v.Unknown = found.Unread
	v.complain(found.Complaints...)
	return v
}
