package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	// straceSettle is how long strace gets to attach and, in the end, to write.
	straceSettle = 1500 * time.Millisecond
	marker       = "marked-write-for-the-trace"
)

// traceSync watches the system calls of all members during one write, and looks
// whether they synced before the answer left.
func (t *trial) traceSync(ctx context.Context) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("%w (install strace: the trial looks at system calls)", err)
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	s, err := grid.OpenSpace[word](ctx, t.g, markedSpace)
	if err != nil {
		return err
	}
	// The client learns who leads, so that the marked write goes there at once.
	if _, err := s.Write(ctx, word{ID: marker, Text: "first"}); err != nil {
		return err
	}
	if err := t.cluster.AwaitAligned(ctx, alignTime); err != nil {
		return err
	}
	led, err := t.cluster.Leaders(ctx)
	if err != nil {
		return err
	}
	group := int(t.g.Router().State().Table[space.PartitionOf([]byte(marker), t.g.Partitions())])
	tracers := map[string]*lab.Process{}
	for _, m := range t.cluster.All() {
		c, err := t.cluster.Start(m.Name()+".strace", strace, "-f", "-ttt", "-yy", "-s", "2048",
			"-e", "trace=read,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync",
			"-o", t.traceFile(m), "-p", strconv.Itoa(m.PID()))
		if err != nil {
			return err
		}
		tracers[m.Name()] = c
	}
	sleep(ctx, straceSettle)
	_, failed := s.Write(ctx, word{ID: marker, Text: "second"})
	sleep(ctx, straceSettle)
	for _, c := range tracers {
		if err := c.Signal(syscall.SIGINT); err != nil {
			return fmt.Errorf("strace: %w: %s", err, c.Tail())
		}
		<-c.Ended()
	}
	if failed != nil {
		return failed
	}
	var leader []systemCall
	var followers [][]systemCall
	for _, m := range t.cluster.All() {
		calls, err := t.traceOf(m)
		if err != nil {
			return err
		}
		if slices.Contains(led[m.Name()], group) {
			leader = calls
		} else {
			followers = append(followers, calls)
		}
	}
	if err := syncedBeforeAnswer(leader, followers, "/raft/", marker); err != nil {
		t.findingf("%v", err)
		return nil
	}
	t.report.SyncedBefore = true
	return nil
}

func (t *trial) traceFile(m *lab.Member) string {
	return filepath.Join(t.folder, m.Name()+".trace")
}

func (t *trial) traceOf(m *lab.Member) ([]systemCall, error) {
	f, err := os.Open(t.traceFile(m))
	if err != nil {
		return nil, err
	}
	calls, err := parseTrace(f)
	return calls, errors.Join(err, f.Close())
}
