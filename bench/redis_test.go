package bench

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// redisServer starts the peer. Only where it is not installed its tests are left
// out.
func redisServer(t *testing.T) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed")
	}
	r, err := StartRedis(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// A run against Redis finds what it wrote, is refused nothing, and leaves
// neither a process nor a folder behind.
func TestRedisPeer(t *testing.T) {
	r := redisServer(t)
	report, err := KV(t.Context(), KVConfig{
		Addr: r.Addr(), Target: r.Name(), Workload: Workload{Keys: 1000, Reads: 0.5},
		Load: Load{Clients: 4, Pipeline: 8, Warmup: 50 * time.Millisecond, Duration: 300 * time.Millisecond}, Runs: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := report.Cells[0]
	if c.Result.Latency.Max == 0 || c.Result.Failed+c.Result.Missed+c.Result.Unanswered > 0 || c.Runs != 3 || c.Low > c.Result.PerSecond || c.High < c.Result.PerSecond {
		t.Errorf("%+v", c)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(r.process.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	if conn, err := net.Dial("tcp", r.Addr()); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// A peer that is not installed is told apart from one that fails to start, whose
// last words are told.
func TestRedisMissingOrBroken(t *testing.T) {
	if _, err := StartRedis(t.Context(), "/nowhere/redis-server"); !errors.Is(err, ErrNoRedis) {
		t.Error(err)
	}
	if _, err := StartRedis(t.Context(), "/bin/false"); err == nil || errors.Is(err, ErrNoRedis) {
		t.Error(err)
	}
}

// A program given by its path from here is found, though it runs in a folder of
// its own.
func TestProcessByRelativePath(t *testing.T) {
	t.Chdir("/bin")
	p, err := startProcess("sh", "./sh", func(dir string) []string { return []string{"-c", "test $PWD = " + dir + " && echo there"} })
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if p.err != nil || p.out.String() != "there\n" {
		t.Errorf("%v, %q", p.err, p.out)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// A process that does not heed the request to end is killed.
func TestProcessIsKilled(t *testing.T) {
	p, err := startProcess("stubborn", "/bin/sh", func(string) []string {
		return []string{"-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}
	})
	if err != nil {
		t.Fatal(err)
	}
	for p.out.String() == "" {
		time.Sleep(time.Millisecond)
	}
	p.patience = 50 * time.Millisecond
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if p.cmd.ProcessState == nil || p.cmd.ProcessState.Success() {
		t.Errorf("it ended with %v", p.cmd.ProcessState)
	}
}
