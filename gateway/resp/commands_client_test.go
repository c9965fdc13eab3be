package resp

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The usual Go client works as with Redis, over either protocol.
func TestGoRedis(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: address, Protocol: proto, ClientName: "smoke"})
			defer c.Close()
			useClient(t, c)
		})
	}
}

func useClient(t *testing.T, c *redis.Client) {
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.FlushAll(ctx).Err())
	check(c.Set(ctx, "k", "v", time.Hour).Err())
	if got, err := c.Get(ctx, "k").Result(); err != nil || got != "v" {
		t.Errorf("GET: %q, %v", got, err)
	}
	if err := c.Get(ctx, "none").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of nothing: %v", err)
	}
	if left, err := c.TTL(ctx, "k").Result(); err != nil || left < time.Hour-2*time.Second || left > time.Hour {
		t.Errorf("TTL: %v, %v", left, err)
	}
	check(c.HSet(ctx, "h", map[string]any{"a": 1, "b": "two"}).Err())
	if got, err := c.HGetAll(ctx, "h").Result(); err != nil || len(got) != 2 || got["b"] != "two" {
		t.Errorf("HGETALL: %v, %v", got, err)
	}
	gets, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 200 {
			p.Set(ctx, fmt.Sprint("p", i), i, 0)
		}
		for i := range 200 {
			p.Get(ctx, fmt.Sprint("p", i))
		}
		return nil
	})
	check(err)
	for i, g := range gets[200:] {
		if got := g.(*redis.StringCmd).Val(); got != fmt.Sprint(i) {
			t.Fatalf("pipelined GET %d: %q", i, got)
		}
	}
	seen := map[string]int{}
	it := c.Scan(ctx, 0, "p*", 17).Iterator()
	for it.Next(ctx) {
		seen[it.Val()]++
	}
	check(it.Err())
	if len(seen) != 200 {
		t.Errorf("SCAN found %d keys of 200", len(seen))
	}
	for key, times := range seen {
		if times != 1 {
			t.Errorf("SCAN found %s %d times", key, times)
		}
	}
	countTogether(t, c)
}

// countTogether raises a number by transactions that watch it.
func countTogether(t *testing.T, c *redis.Client) {
	const clients, rounds = 8, 10
	raise := func(ctx context.Context) error {
		for {
			err := c.Watch(ctx, func(tx *redis.Tx) error {
				n, err := tx.Get(ctx, "n").Int()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, "n", n+1, 0)
					return nil
				})
				return err
			}, "n")
			if !errors.Is(err, redis.TxFailedErr) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds {
				if err := raise(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, err := c.Get(t.Context(), "n").Int(); err != nil || n != clients*rounds {
		t.Errorf("%d clients raised a number %d times each, to %d, %v", clients, rounds, n, err)
	}
}

// A cluster client finds the members by itself.
func TestGoRedisCluster(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{ClusterMode: true})
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{address},
		// The grid of the test advertises another address than the test listens on.
		NewClient: func(o *redis.Options) *redis.Client { o.Addr = address; return redis.NewClient(o) },
	})
	defer c.Close()
	for i := range 20 {
		if err := c.Set(t.Context(), fmt.Sprint("k", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Get(t.Context(), fmt.Sprint("k", i)).Int(); err != nil || got != i {
			t.Fatal(got, err)
		}
	}
}

// The tools of Redis find nothing to warn of.
func TestRedisTools(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	host, port, _ := strings.Cut(address, ":")
	run := func(name string, args ...string) string {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Skip("SKIPPED: " + name + " is not installed, so it is not tried")
		}
		out, err := exec.CommandContext(t.Context(), program, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		if strings.Contains(string(out), "WARNING") || strings.Contains(string(out), "rror") {
			t.Errorf("%s %v:\n%s", name, args, out)
		}
		return string(out)
	}
	run("redis-cli", "-3", "SET", "k", "v")
	if got := run("redis-cli", "GET", "k"); got != "v\n" {
		t.Errorf("GET: %q", got)
	}
	if got := run("redis-cli", "--scan"); got != "k\n" {
		t.Errorf("--scan: %q", got)
	}
	run("redis-cli", "--bigkeys")
	run("redis-cli", "--memkeys")
	out := run("redis-benchmark", "-t", "ping,set,get,incr,hset,mset", "-n", "2000", "-c", "10", "-r", "100", "-P", "4", "--csv")
	for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "HSET", "MSET (10 keys)"} {
		if !strings.Contains(out, `"`+test+`"`) {
			t.Errorf("redis-benchmark did not run %s:\n%s", test, out)
		}
	}
}
