package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// startTimeout bounds how long a server may take until it answers.
const startTimeout = 20 * time.Second

// ErrNoRedis is returned when there is no redis-server to compare with.
var ErrNoRedis = errors.New("bench: no redis-server found (install it, on Debian: apt-get install redis-server)")

// Redis is a redis-server that was started to be compared with, on a free
// loopback port, with everything in memory.
type Redis struct {
	process *process
	addr    string
	version string
}

// StartRedis starts program, or redis-server from the search path if it is
// empty, and returns when it answers. The error is ErrNoRedis if there is none.
// Close it after use.
func StartRedis(ctx context.Context, program string) (*Redis, error) {
	orDefault(&program, "redis-server")
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRedis, err)
	}
	addrs, err := freePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	p, err := startProcess("redis", program, func(dir string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}
	})
	if err != nil {
		return nil, err
	}
	r := &Redis{process: p, addr: addrs[0]}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.await(ctx, r.ask); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return r, nil
}

// ask learns the version, which is possible once the server serves, and makes
// sure that it is the server that was started: another one may have taken the
// port, and its data would be overwritten.
func (r *Redis) ask(ctx context.Context) error {
	c, err := dialRESP(ctx, r.addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it was only asked
	info, err := c.call(ctx, "INFO", "server")
	if err != nil {
		return err
	}
	field := func(name string) string {
		for line := range strings.Lines(info) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
				return value
			}
		}
		return ""
	}
	if pid := field("process_id"); pid != strconv.Itoa(r.process.pid()) {
		return fmt.Errorf("bench: another server, process %q, answers on %s (run again)", pid, r.addr)
	}
	r.version = field("redis_version")
	return nil
}

// Addr returns the address that it listens on.
func (r *Redis) Addr() string { return r.addr }

// Name returns what it is, with its version.
func (r *Redis) Name() string { return "redis " + r.version }

// Close ends the server and removes its folder. It is safe to call twice.
func (r *Redis) Close() error { return r.process.stop() }
