package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

const (
	redisBenchmark = "redis-benchmark"
	redisRequests  = "2000" // of each kind
)

// redisTools runs redis-benchmark against every member, where it is installed. It
// must end well and complain about nothing.
func (t *trial) redisTools(ctx context.Context) error {
	tool, err := exec.LookPath(redisBenchmark)
	if errors.Is(err, exec.ErrNotFound) {
		t.sayf("%s is not installed: left out", redisBenchmark)
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	for _, m := range t.cluster.All() {
		host, port, err := net.SplitHostPort(m.Flag("--resp"))
		if err != nil {
			return err
		}
		c, err := t.cluster.Start(m.Name()+"."+redisBenchmark, tool, "-h", host, "-p", port, "-n", redisRequests, "-q", "-t", "ping,set,get,incr,hset,mset")
		if err != nil {
			return err
		}
		lines, err := c.Output(ctx)
		if err != nil {
			return err
		}
		said, err := os.ReadFile(c.Log())
		if err != nil {
			return err
		}
		for _, line := range append(lines, strings.Split(string(said), "\n")...) {
			if low := strings.ToLower(line); strings.Contains(low, "warning") || strings.Contains(low, "error") {
				return fmt.Errorf("%s against %s: %s", redisBenchmark, m.Name(), line)
			}
		}
		t.report.RedisMembers++
	}
	return nil
}
