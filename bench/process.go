package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a process may take to end by itself after it was
	// asked to, before it is killed.
	stopTimeout = 5 * time.Second
	// outputMax is how much of a process's last output is kept, for errors.
	outputMax = 4 << 10
)

// process is a server that a run has started, with a folder of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	dir  string // removed by stop
	out  *tail
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid after done
	// patience is how long stop waits before it kills.
	patience time.Duration
}

// startProcess starts a program, found as a shell would find it here, in a new
// temporary folder. args makes its arguments, given the folder. The caller stops
// it.
func startProcess(name, program string, args func(dir string) []string) (*process, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path) // its folder is another one
	}
	if err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", name, err)
	}
	dir, err := os.MkdirTemp("", "spacegrid-bench-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", name, err)
	}
	p := &process{name: name, dir: dir, out: &tail{}, done: make(chan struct{}), patience: stopTimeout}
	// The process is ended by stop, politely first, where a context would kill it.
	//nolint:gosec // which program is started is for those to say who measure it
	p.cmd = exec.CommandContext(context.Background(), path, args(dir)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.out
	// A child of it that keeps the output open must not hold up the end.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: start %s: %w", name, err), os.RemoveAll(dir))
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end, kills it if it does not, waits for it and
// removes its folder. How it ended says nothing about what was measured.
func (p *process) stop() error {
	select {
	case <-p.done: // its number may be somebody else's by now
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has just ended
	}
	select {
	case <-p.done:
	case <-time.After(p.patience):
		_ = p.cmd.Process.Kill() // as above
		<-p.done
	}
	return os.RemoveAll(p.dir)
}

// await calls ready until it succeeds, and returns early if the process ends.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("bench: %s ended at once: %w; its last words: %s", p.name, p.err, p.out)
		case <-ctx.Done():
			return fmt.Errorf("bench: %s does not answer: %w; its last words: %s", p.name, err, p.out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu struct {
		sync.Mutex
		b []byte // at most outputMax
	}
}

// Write keeps the last bytes.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.b = append(t.mu.b, b[max(0, len(b)-outputMax):]...)
	t.mu.b = t.mu.b[max(0, len(t.mu.b)-outputMax):]
	return len(b), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.mu.b)
}

// freePorts returns n loopback addresses whose ports were free a moment ago.
// Another process may take one before it is used; then its user fails to start.
func freePorts(ctx context.Context, n int) (addrs []string, err error) {
	var held []net.Listener // all at once, so that they differ
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("bench: find a free port: %w", err)
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
