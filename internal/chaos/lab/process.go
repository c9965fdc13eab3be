package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTime is how long a process may take to end when it is asked to.
	stopTime = 20 * time.Second
	// logTail is how much of a process's log is shown when it failed.
	logTail = 4 << 10
	// linesKept is how many lines of output wait for whoever reads them; more are
	// lost.
	linesKept = 64
)

// Process is a process that this one has started, and ends in any case. Its
// standard input is a pipe that closes when this process dies, however it dies.
type Process struct {
	name string
	log  string // file that its standard error is appended to

	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string   // its standard output
	ended chan struct{} // closed after it has been waited for
	err   error         // of the wait; valid after ended
}

// Start runs a program. Its standard output comes line by line through Lines, its
// standard error is appended to a file, and env, as name=value, is added to its
// environment. Whoever starts it has to see to its end.
func Start(name, log string, env []string, command ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own handle
	p := &Process{name: name, log: log, lines: make(chan string, linesKept), ended: make(chan struct{})}
	//nolint:gosec,noctx // the program under test, or a tool that was looked up; it is ended by Kill, Stop or End
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Stderr = out
	p.cmd.Env = append(os.Environ(), env...)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", name, err)
	}
	go p.watch(stdout)
	return p, nil
}

// watch reads what the process says until it has ended, then waits for it.
func (p *Process) watch(stdout io.Reader) {
	s := bufio.NewScanner(stdout)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		select {
		case p.lines <- s.Text():
		default: // nobody listens any more
		}
	}
	p.err = p.cmd.Wait()
	close(p.lines)
	close(p.ended)
}

// Name returns the name that the process was started under.
func (p *Process) Name() string { return p.name }

// PID returns the process's number, also after its end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the path of the file with its standard error.
func (p *Process) Log() string { return p.log }

// Lines returns its standard output, line by line. It is closed at the end.
func (p *Process) Lines() <-chan string { return p.lines }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err returns how the process has ended, after Ended is closed: nil for well.
func (p *Process) Err() error { return p.err }

// Running reports whether the process has not been waited for yet.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Signal sends a signal. It is no error if the process has ended already.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("lab: signal %s: %w", p.name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	// The one error there can be is that it has ended already.
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Dismiss closes the process's standard input, for those that end with it.
func (p *Process) Dismiss() error { return p.stdin.Close() }

// Output reads the process's standard output to its end and waits for it. It fails
// if the process does.
func (p *Process) Output(ctx context.Context) ([]string, error) {
	var all []string
	for {
		select {
		case line, more := <-p.lines:
			if more {
				all = append(all, line)
				continue
			}
			<-p.ended
			if p.err != nil {
				return nil, fmt.Errorf("lab: %s: %w: %s", p.name, p.err, p.Tail())
			}
			return all, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// AwaitLine waits until the process has said a line.
func (p *Process) AwaitLine(ctx context.Context, want string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return fmt.Errorf("lab: %s ended: %s", p.name, p.Tail())
			}
			if line == want {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("lab: %s is not ready: %w: %s", p.name, ctx.Err(), p.Tail())
		}
	}
}

// Stop asks the process to end, insists after a while, and waits for it. It fails
// if the process had to be killed or ended badly.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		p.Kill()
		return fmt.Errorf("lab: %s did not stop within %s: %s", p.name, stopTime, p.Tail())
	}
	if p.err != nil {
		return fmt.Errorf("lab: %s ended badly: %w: %s", p.name, p.err, p.Tail())
	}
	return nil
}

// Killed reports whether the operating system ended the process with SIGKILL.
func (p *Process) Killed() bool {
	if p.Running() || p.cmd.ProcessState == nil {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Tail returns the end of the process's log.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-logTail):]))
}

// processes are all those of one lab.
type processes struct {
	mu  sync.Mutex
	all []*Process
}

func (ps *processes) add(p *Process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.all = append(ps.all, p)
}

// killed counts the processes that ended by SIGKILL.
func (ps *processes) killed() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	n := 0
	for _, p := range ps.all {
		if p.Killed() {
			n++
		}
	}
	return n
}

// end kills what still runs, frozen or not.
func (ps *processes) end() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		if p.Running() {
			p.Kill()
		}
	}
}
