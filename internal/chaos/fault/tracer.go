package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	// attachTime is how long a tracer may take until it has every thread.
	attachTime = 10 * time.Second
	// noticeTime is how long a member may take to sync something.
	noticeTime = 15 * time.Second
)

// tracer changes what system calls of a member do.
type tracer struct {
	process *lab.Process
	calls   string // file with the calls it has seen
}

// trace attaches a tracer that injects something into calls of a member, until the
// injury is healed.
func (j *injury) trace(ctx context.Context, l *lab.Lab, m *lab.Member, calls, inject string) (*tracer, error) {
	t := &tracer{calls: filepath.Join(l.Folder(), m.Name()+".calls")}
	p, err := l.Start(m.Name()+".strace", "strace", "-f", "-o", t.calls, "-p", strconv.Itoa(m.PID()),
		"-e", "trace="+calls, "-e", "inject="+calls+":"+inject)
	if err != nil {
		return nil, err
	}
	t.process = p
	j.later(func(context.Context) error { return errors.Join(t.detach(), os.RemoveAll(t.calls)) })
	return t, lab.Poll(ctx, attachTime, "trace "+m.Name(), func(context.Context) error {
		if !m.Running() {
			return nil // what is injected may have ended it, and the tracer with it
		}
		if !p.Running() {
			return fmt.Errorf("strace: %w: %s", errors.Join(lab.ErrEnded, p.Err()), p.Tail())
		}
		return traced(m.PID())
	})
}

// detach ends the tracer, which ends by itself with what it traces.
func (t *tracer) detach() error {
	if err := t.process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-t.process.Ended():
	case <-time.After(attachTime):
		t.process.Kill()
	}
	return nil
}

// saw returns how many calls have been changed.
func (t *tracer) saw() (int, error) {
	b, err := os.ReadFile(t.calls)
	return bytes.Count(b, []byte("(INJECTED)")) + bytes.Count(b, []byte("(DELAYED)")), err
}

// traced returns nil if every thread of a process is traced.
func traced(pid int) error {
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	if err == nil && len(threads) == 0 {
		err = errors.New("the process has ended")
	}
	for _, path := range threads {
		b, readErr := os.ReadFile(path)
		if readErr == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			err = errors.New("a thread is not traced yet")
		}
	}
	return err
}
