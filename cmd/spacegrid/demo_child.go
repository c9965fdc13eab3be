package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
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
)

// child is a process that this one has started, and ends in any case. Its
// standard input is a pipe that closes when this process dies, however it dies.
type child struct {
	name string
	log  string // file that its standard error is appended to

	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string   // its standard output
	ended chan struct{} // closed after it has been waited for
	err   error         // of the wait; valid after ended
}

// startChild runs this program again with other arguments. Its standard output
// comes line by line through lines, its standard error goes to a file.
func startChild(name, log string, args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(name, log, append([]string{program}, args...)...)
}

// startProgram runs any program as a child.
func startProgram(name, log string, command ...string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own handle
	c := &child{name: name, log: log, lines: make(chan string, 64), ended: make(chan struct{})}
	//nolint:gosec,noctx // the program itself, or a tool that was looked up; it is ended by kill, stop or end
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Stderr = out
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go c.watch(stdout)
	return c, nil
}

// watch reads what the process says until it has ended, then waits for it.
func (c *child) watch(stdout io.Reader) {
	s := bufio.NewScanner(stdout)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		select {
		case c.lines <- s.Text():
		default: // nobody listens any more
		}
	}
	c.err = c.cmd.Wait()
	close(c.lines)
	close(c.ended)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// running reports whether the process has not been waited for yet.
func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL and waits for it.
func (c *child) kill() {
	// The one error there can be is that it has ended already.
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// output reads the process's standard output to its end and waits for it. It fails
// if the process does.
func (c *child) output(ctx context.Context) ([]string, error) {
	var all []string
	for {
		select {
		case line, more := <-c.lines:
			if more {
				all = append(all, line)
				continue
			}
			<-c.ended
			if c.err != nil {
				return nil, fmt.Errorf("%s: %w: %s", c.name, c.err, c.tail())
			}
			return all, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// stop asks the process to end, insists after a while, and waits for it.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		c.kill()
		return fmt.Errorf("%s did not stop within %s: %s", c.name, stopTime, c.tail())
	}
	if c.err != nil {
		return fmt.Errorf("%s ended badly: %w: %s", c.name, c.err, c.tail())
	}
	return nil
}

// killed reports whether the operating system ended the process with SIGKILL.
func (c *child) killed() bool {
	if c.running() || c.cmd.ProcessState == nil {
		return false
	}
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// tail returns the end of the process's log.
func (c *child) tail() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-logTail):]))
}

// children are all processes of one run.
type children struct {
	mu  sync.Mutex
	all []*child
}

func (cs *children) add(c *child) *child {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all = append(cs.all, c)
	return c
}

// killed counts the processes that ended by SIGKILL.
func (cs *children) killed() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	n := 0
	for _, c := range cs.all {
		if c.killed() {
			n++
		}
	}
	return n
}

// end kills what still runs.
func (cs *children) end() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.all {
		if c.running() {
			c.kill()
		}
	}
}

// Ports are drawn from below the range that operating systems use for outgoing
// connections: a connection to a dead member must not be able to meet itself.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 200
)

// freePorts returns loopback addresses that are free for TCP and UDP.
func freePorts(ctx context.Context, n int) ([]string, error) {
	addrs := make([]string, 0, n)
	seen := map[int]bool{}
	for range portTries {
		if len(addrs) == n {
			return addrs, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if seen[port] || !portFree(ctx, addr) {
			continue
		}
		seen[port] = true
		addrs = append(addrs, addr)
	}
	return nil, errors.New("no free ports on the loopback interface")
}

func portFree(ctx context.Context, addr string) bool {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	p, err := c.ListenPacket(ctx, "udp", addr)
	if err == nil {
		err = p.Close()
	}
	return errors.Join(err, l.Close()) == nil
}
