package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// word is an entry that the trial writes.
type word struct {
	ID   string `grid:"id,key"`
	Text string `grid:"text"`
}

const (
	// ballastBytes and ballastWrites fill a group's log with more entries and
	// more bytes than a leader keeps for those who are behind.
	ballastBytes  = 32 << 10
	ballastWrites = 4400
	ballastKeys   = 16
	// ballastTag keeps them in one partition, and so in one group.
	ballastTag = "{ballast}"
)

// needSnapshot keeps a member away while one group's log is emptied behind a
// snapshot, and looks whether it says that it has received one.
func (t *trial) needSnapshot(ctx context.Context) error {
	led, err := t.cluster.Leaders(ctx)
	if err != nil {
		return err
	}
	group := int(t.g.Router().State().Table[space.PartitionOf([]byte(ballastTag), t.g.Partitions())])
	away := t.cluster.All()[0]
	for _, m := range t.cluster.All() {
		if !slices.Contains(led[m.Name()], group) {
			away = m
		}
	}
	s, err := grid.OpenSpace[word](ctx, t.g, ballast)
	if err != nil {
		return err
	}
	away.Kill()
	text := strings.Repeat("ballast ", ballastBytes/8)
	for i := range ballastWrites {
		if _, err := s.Write(ctx, word{ID: fmt.Sprintf("%s%d", ballastTag, i%ballastKeys), Text: text + fmt.Sprint(i)}); err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
	}
	t.sayf("%d writes of %d KiB later, member %s comes back", ballastWrites, ballastBytes>>10, away.Name())
	before, err := os.ReadFile(away.Process().Log())
	if err != nil {
		return err
	}
	if err := away.Start("--log-level", "debug"); err != nil {
		return err
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	if err := t.cluster.AwaitAligned(ctx, alignTime); err != nil {
		return err
	}
	after, err := os.ReadFile(away.Process().Log())
	if err != nil {
		return err
	}
	t.report.SnapshotReceived = bytes.Contains(after[len(before):], []byte(snapshotLine))
	if !t.report.SnapshotReceived {
		t.findingf("the log of %s does not say %q", away.Name(), snapshotLine)
	}
	return t.compareDigests(ctx)
}

// snapshotLine is what a member logs, at level debug, when it goes on from a
// leader's snapshot.
const snapshotLine = "Installed remote snapshot"
