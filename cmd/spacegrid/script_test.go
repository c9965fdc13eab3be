package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// TestMain lets scripts run the test binary as spacegrid.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"spacegrid": main})
}

// portsPerMember are RESP, HTTP, members and gossip.
const portsPerMember = 4

// The command line does what it says, against members that are real processes.
// Every script has the addresses of two members, $REDIS, $HTTP, $PEER, $GOSSIP and
// the same with a 2 behind. Beside the usual commands it has:
//
//	exits CODE spacegrid ARGS…  runs a command line that ends with the status CODE
//	ready [ADDR]                waits until a member answers at $PEER, or at ADDR
//	disk FOLDER SIZE            mounts an empty file system in memory
//	goredis                     uses $REDIS through go-redis
//	postgres start NAME         runs a server and puts a connection string into $NAME
//	postgres stop|restart       ends it in good order, and brings it back
//	postgres query SQL          writes the first column of the rows to stdout
//	until PATTERN spacegrid ARGS…
//	                            repeats a command line until it writes PATTERN
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[scriptServer{}] = &scriptServer{}
			addrs, err := lab.FreePorts(t.Context(), 2*portsPerMember)
			if err != nil {
				return err
			}
			for i, name := range []string{"REDIS", "HTTP", "PEER", "GOSSIP"} {
				env.Setenv(name, addrs[i])
				env.Setenv(name+"2", addrs[portsPerMember+i])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "ready": scriptReady, "until": scriptUntil, "disk": scriptDisk, "goredis": scriptGoRedis,
			"postgres": scriptPostgres,
		},
		Condition: func(name string) (bool, error) {
			if name == "mounts" {
				return canMount(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// canMount reports whether this process may mount a file system, by doing so.
func canMount() bool {
	dir, err := os.MkdirTemp("", "spacegrid-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir).Run() != nil {
		return false
	}
	return exec.Command("umount", dir).Run() == nil
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// scriptPatience is how long a script waits for something.
const scriptPatience = 20 * time.Second

func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	addr := ts.Getenv("PEER")
	if len(args) == 1 {
		addr = args[0]
	}
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ready [address]")
	}
	for end := time.Now().Add(scriptPatience); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec("spacegrid", "query", "default", "--limit", "1", "--addr", addr, "--timeout", "2s")
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no member answers at %s: %v", addr, err)
		}
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN command…")
	}
	for end := time.Now().Add(scriptPatience); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q was not written: %v", args[0], err)
		}
	}
}

func scriptDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: disk FOLDER SIZE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o755))
	ts.Check(exec.Command("mount", "-t", "tmpfs", "-o", "size="+args[1], "tmpfs", dir).Run())
	// A member that a failed script leaves behind still has files open.
	ts.Defer(func() { ts.Check(exec.Command("umount", "-l", dir).Run()) })
}

// scriptGoRedis uses a member as applications do: single commands, a pipeline, a
// transaction, and a key that is not there.
func scriptGoRedis(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: goredis")
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: ts.Getenv("REDIS")})
	defer c.Close()
	ts.Check(c.Set(ctx, "go", "redis", time.Minute).Err())
	if v, err := c.Get(ctx, "go").Result(); err != nil || v != "redis" {
		ts.Fatalf("get: %q, %v", v, err)
	}
	if d, err := c.TTL(ctx, "go").Result(); err != nil || d <= 0 || d > time.Minute {
		ts.Fatalf("ttl: %v, %v", d, err)
	}
	if err := c.Get(ctx, "absent").Err(); !errors.Is(err, redis.Nil) {
		ts.Fatalf("get of nothing: %v", err)
	}
	const increments = 100
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range increments {
			p.Incr(ctx, "count")
		}
		return nil
	})
	ts.Check(err)
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, "{tx}a", "n", 1)
		p.HIncrBy(ctx, "{tx}a", "n", 41)
		return nil
	})
	ts.Check(err)
	if n, err := c.Get(ctx, "count").Int(); err != nil || n != increments {
		ts.Fatalf("count: %d, %v", n, err)
	}
	if n, err := c.HGet(ctx, "{tx}a", "n").Int(); err != nil || n != 42 {
		ts.Fatalf("hget: %d, %v", n, err)
	}
}
