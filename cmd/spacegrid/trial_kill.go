package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	feedWrites = 4000
	feedPause  = time.Millisecond
)

// followThroughKill lets a WebSocket client follow a space through the kill of its
// member. What it has seen is compared with the stores when they are read.
func (t *trial) followThroughKill(ctx context.Context) error {
	led, err := t.dial(ctx, 2)
	if err != nil {
		return err
	}
	s, err := grid.OpenSpace[word](ctx, t.g, feedSpace)
	if err != nil {
		return err
	}
	victim := t.cluster.Busiest(led)
	urls := []string{"ws://" + victim.Flag("--http") + "/v1/ws"}
	for _, m := range t.cluster.All() {
		if m != victim {
			urls = append(urls, "ws://"+m.Flag("--http")+"/v1/ws")
		}
	}
	t.feed = follow(ctx, feedSpace, urls)
	defer t.feed.close()
	for i := range feedWrites {
		if i == feedWrites/2 {
			t.sayf("kill -9 %d: member %s, which the client listens to", victim.PID(), victim.Name())
			victim.Kill()
		}
		if _, err := s.Write(ctx, word{ID: fmt.Sprintf("feed-%05d", i), Text: "x"}); err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
		sleep(ctx, feedPause)
	}
	err = lab.Poll(ctx, alignTime, "wait for the client to see everything", func(context.Context) error {
		if n := t.feed.count(); n < feedWrites {
			return fmt.Errorf("it has seen %d of %d; %v", n, feedWrites, t.feed.violations)
		}
		return nil
	})
	f := t.feed
	f.close()
	t.report.SocketEvents, t.report.SocketRepeated, t.report.SocketResets = f.events, f.repeated, f.resets
	t.report.SocketViolations, t.report.SocketAwayMS = len(f.violations), f.away.Milliseconds()
	for _, v := range f.violations {
		t.findingf("WebSocket: %s", v)
	}
	if err != nil {
		return err
	}
	if f.away > 30*time.Second || f.connects < 2 {
		t.findingf("the client was away for %s, in %d connections", f.away, f.connects)
	}
	return victim.Start()
}

// socketAgainstStores compares what the WebSocket client saw with the stores.
func (t *trial) socketAgainstStores(ctx context.Context, partitions int) error {
	t.report.SocketEqual = true
	for _, m := range t.cluster.All() {
		rows, err := scanStore(ctx, m.StoreDir(), feedSpace, partitions)
		if err != nil {
			return fmt.Errorf("store of %s: %w", m.Name(), err)
		}
		bad := len(rows) != len(t.feed.changes)
		for key, r := range rows {
			bad = bad || t.feed.changes[key] != uint64(r.Version)
		}
		if bad {
			t.report.SocketEqual = false
			t.findingf("the client saw %d changes, the store of %s has %d rows, or others", len(t.feed.changes), m.Name(), len(rows))
		}
	}
	return nil
}

const (
	lastWriters = 8
	lastWords   = 400 // acknowledged before everybody is killed
)

// killAll kills all members at the moment of an acknowledgement, starts them again
// and looks for everything that was acknowledged.
func (t *trial) killAll(ctx context.Context) error {
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	s, err := grid.OpenSpace[word](ctx, t.g, lastSpace)
	if err != nil {
		return err
	}
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	acked, asked := jsonRows{}, jsonRows{}
	var wg sync.WaitGroup
	for w := range lastWriters {
		wg.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				v := word{ID: fmt.Sprintf("last-%d-%05d", w, i), Text: fmt.Sprint("of writer ", w)}
				text := fmt.Sprintf(`{"id":%q,"text":%q}`, v.ID, v.Text)
				mu.Lock()
				asked[v.ID] = text
				mu.Unlock()
				if _, err := s.Write(writing, v); err != nil {
					return
				}
				mu.Lock()
				acked[v.ID] = text
				if len(acked) == lastWords {
					t.cluster.KillAll()
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.report.AckedBeforeKill = len(acked)
	t.sayf("%d acknowledged, then kill -9 to all of them; starting again", len(acked))
	t.hangUp()
	if err := t.cluster.StartAll(); err != nil {
		return err
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	rows, err := t.rows(ctx, lastSpace)
	if err != nil {
		return err
	}
	for id, text := range acked {
		if rows[id] != text {
			if t.report.LostAfterKillAll++; t.report.LostAfterKillAll == 1 {
				t.findingf("%s was acknowledged and is %q", id, rows[id])
			}
		}
	}
	for id, text := range rows {
		if asked[id] != text {
			t.findingf("%s is %s, which nobody wrote", id, text)
			t.report.LostAfterKillAll++
		}
	}
	return nil
}
