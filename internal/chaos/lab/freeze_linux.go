package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// freezeTime is how long the threads of a process may take to stop.
const freezeTime = 5 * time.Second

// Pause freezes the member where it is, and returns when all its threads have
// stopped.
func (m *Member) Pause(ctx context.Context) error {
	p := m.Process()
	if p == nil {
		return fmt.Errorf("lab: member %s was never started", m.name)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return Poll(ctx, freezeTime, "freeze "+m.name, func(context.Context) error { return p.frozen() })
}

// Resume lets a frozen member go on.
func (m *Member) Resume() error {
	if p := m.Process(); p != nil {
		return p.Signal(syscall.SIGCONT)
	}
	return nil
}

// Frozen returns nil if the member's process is there and every thread of it stands
// still.
func (m *Member) Frozen() error {
	p := m.Process()
	if p == nil {
		return fmt.Errorf("lab: member %s was never started", m.name)
	}
	return p.frozen()
}

func (p *Process) frozen() error {
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(p.PID()) + "/task/*/stat")
	if err != nil {
		return err
	}
	if len(threads) == 0 {
		return fmt.Errorf("lab: %s has ended", p.name)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // ended in between
		}
		if err != nil {
			return err
		}
		// The state is behind the name, which is in brackets and may have any in it.
		if state := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])[0]; string(state) != "T" && string(state) != "t" {
			return fmt.Errorf("lab: a thread of %s is in state %s", p.name, state)
		}
	}
	return nil
}
